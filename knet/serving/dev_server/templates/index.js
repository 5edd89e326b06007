"use strict";
const REFERRAL_FACTOR = 3;   // images whose odds are within this factor of the threshold's are referred
const MAX_CONCURRENT = 2;    // requests
const HEAT_COLOR = [0, 200, 80], MAX_OPACITY = 0.65;  // as in the report
const BREAKHIS = /^SOB_[BM]_(?:A|F|PT|TA|DC|LC|MC|PC)-(\d{2}-\d+)[A-Z]*-\d+-\d+\.\w+$/;
const REASONS = { "not 8-bit RGB": "not a colour image of 8 bits", "unlike the training images": "unlike the images the model learned from" };
const FILE_SIGNATURES = [[0x89, 0x50, 0x4e, 0x47], [0xff, 0xd8, 0xff]];  // of PNG and JPEG files

const at = id => document.getElementById(id);
const model = document.body.dataset.model;
let served = null;       // { version, info }: the newest version and its model card, null if it has none
let images = [];         // { file, patient, card, prediction, heat, failed }; failed: { retry }, else undefined
let waiting = [], running = 0;

// --- requests ---------------------------------------------------------------------------------------------

async function request(path, options = {}) {
  const token = at("token").value ? { Authorization: `Bearer ${at("token").value}` } : {};
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: { ...token, ...options.headers }, cache: "no-store" });
  } catch {
    throw new Error("the server does not answer");
  }
  const text = await reply.text();
  let tree = null;
  try { tree = JSON.parse(text); } catch { /* the status code is enough */ }
  if (reply.status === 401) {
    at("token-form").hidden = false;
    throw new Error(token.Authorization ? "the server does not accept this access code" : "the server requires an access code");
  }
  if (!reply.ok || !tree) {
    const reason = tree?.error?.split("\n")[0] || `${reply.status} ${reply.statusText}`;
    throw Object.assign(new Error(reason), { rejected: [400, 413].includes(reply.status) });
  }
  return tree;
}

async function predict(image, signature) {
  const body = JSON.stringify({ signature_name: signature, instances: [{ b64: await base64(image.file) }] });
  const patient = patientOf(image);
  const headers = patient ? { "X-Patient": encodeURIComponent(patient) } : {};
  const tree = await request(`v1/models/${model}:predict`, { method: "POST", headers, body });
  return tree.predictions[0];
}

const patientOf = image => image.patient ?? at("patient").value.trim();

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(new Error("the file cannot be read"));
    reader.readAsDataURL(file);
  });
}

async function findModel() {
  try {
    const statuses = (await request(`v1/models/${model}`)).model_version_status;
    const versions = statuses.filter(status => status.state === "AVAILABLE").map(status => Number(status.version));
    if (!versions.length) throw new Error(`no version of ${model} is available`);
    const info = await request("card").catch(() => null);
    served = { version: Math.max(...versions), info: info?.calibration ? info : null };  // a card of another pipeline has none
    at("trouble").hidden = true;
    at("served").dataset.version = served.version;
    at("served").textContent = `Version ${served.version}`
      + (served.info ? `, ${served.info.candidate}, ${listed(served.info.classes, "or")}` : "");
    if (served.info) showKind(served.info.classes, served.info.positive?.length > 0);
    at("synthetic").hidden = !served.info?.synthetic_data;
    at("token-form").hidden = true;
  } catch (error) {
    at("served").textContent = "No model";
    at("trouble").textContent = `No results: ${error.message}.`;
    at("trouble").hidden = false;
  }
}

// --- interpretation of predictions ------------------------------------------------------------------------

// The threshold behind the decision; undefined if neither the prediction nor the model card has it.
const thresholdOf = prediction => prediction.threshold ?? served?.info?.calibration?.threshold ?? undefined;

// "two" classes, "more", or more with a positive "group" of classes.
function kindOf(classes, hasGroup) {
  if (classes.length === 2) return "two";
  return hasGroup ? "group" : "more";
}

// The yes-or-no decision of a prediction: { name, score, threshold }; null without a positive class or group.
function decisionOf(prediction) {
  const threshold = thresholdOf(prediction);
  if (prediction.classes.length === 2) return { name: prediction.classes[1], score: prediction.score, threshold };
  if (prediction.positive_score === undefined) return null;
  return { name: "the positive group", score: prediction.positive_score, threshold };
}

function band(threshold) {
  const p = threshold, q = 1 - threshold;  // odds: p / q
  return { low: p / (p + REFERRAL_FACTOR * q), high: REFERRAL_FACTOR * p / (REFERRAL_FACTOR * p + q) };
}

function nearThreshold(probability, threshold) {
  if (threshold === undefined) return false;
  const { low, high } = band(threshold);
  return probability > low && probability < high;
}

// Of more than two classes, the one that is nearly as likely as the likeliest; null if there is none.
function nearClass(classes, probabilities) {
  if (classes.length === 2) return null;
  const [first, second] = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  return REFERRAL_FACTOR * probabilities[second] > probabilities[first] ? classes[second] : null;
}

// { kind, text } of the reason to refer an image; null if there is none.
function referral(prediction) {
  const reasons = prediction.reasons.filter(Boolean).map(reason => REASONS[reason] ?? reason);
  if (!prediction.in_distribution)
    return { kind: "flagged", text: `Refer to a pathologist: prediction flagged as unreliable (${reasons.join(", ")})` };
  const decision = decisionOf(prediction), other = nearClass(prediction.classes, prediction.probabilities);
  if (decision && nearThreshold(decision.score, decision.threshold))
    return { kind: "near-threshold", text: "Refer to a pathologist: close to the threshold" };
  if (other) return { kind: "near-class", text: `Refer to a pathologist: ${other} is nearly as likely` };
  return null;
}

const signOf = (score, threshold) => score >= threshold ? "positive" : "negative";

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

// { label, mean, positive, near }: label and its mean probability; of two classes that of the positive one.
function decidePatient(predictions) {
  const { classes } = predictions[0], threshold = thresholdOf(predictions[0]);
  const decisions = predictions.map(decisionOf);
  const score = decisions[0] && mean(decisions.map(decision => decision.score));
  const near = decisions[0] && nearThreshold(score, threshold) ? "mean close to the threshold" : null;
  if (classes.length === 2) {
    const label = threshold === undefined ? null : classes[score >= threshold ? 1 : 0];
    return { label, mean: score, near };
  }
  const means = classes.map((_, place) => mean(predictions.map(prediction => prediction.probabilities[place])));
  const best = means.indexOf(Math.max(...means)), other = nearClass(classes, means);
  return {
    label: classes[best], mean: means[best],
    positive: decisions[0] && `${score.toFixed(3)}, ${signOf(score, threshold)}`,
    near: near ?? (other && `${other} is nearly as likely`),
  };
}

function patients() {
  const groups = new Map();
  for (const image of images.filter(image => image.prediction)) {
    const name = patientOf(image) || "not named";
    groups.set(name, [...groups.get(name) ?? [], image.prediction]);
  }
  return [...groups].sort().map(([name, predictions]) => {
    const decided = decidePatient(predictions);
    const flagged = predictions.filter(prediction => !prediction.in_distribution).length;
    const kinds = [], reasons = [];
    if (decided.near) {
      kinds.push("near-threshold");
      reasons.push(decided.near);
    }
    if (2 * flagged >= predictions.length) {
      kinds.push("flagged");
      reasons.push(`${flagged} of ${predictions.length} images flagged as unreliable`);
    }
    return {
      name, ...decided,
      count: predictions.length,
      referred: predictions.filter(referral).length,
      referral: reasons.length ? { kind: kinds.join(" "), text: `Refer: ${reasons.join("; ")}` } : null,
    };
  });
}

// --- the page ---------------------------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const card = at("prediction").content.cloneNode(true).querySelector("li");
    const image = { file, card, patient: BREAKHIS.exec(file.name)?.[1] ?? null, prediction: null, heat: null };
    card.querySelector(".name").textContent = file.name;
    card.querySelector(".probability").hidden = true;
    card.querySelector(".picture").hidden = true;
    card.querySelector("button").addEventListener("click", () => toggleHeat(image));
    at("cards").append(card);
    images.push(image);
    enqueue(image);
  }
  at("predictions").hidden = !images.length;
  show();
  findModel().then(classifyWaiting);
}

function enqueue(image) {
  image.failed = undefined;
  image.card.querySelector(".label").textContent = "waiting …";
  image.card.querySelector(".referral").textContent = "";
  waiting.push(image);
}

// Ask again about the images that failed for no fault of theirs, such as a server that was restarted.
function retry() {
  images.filter(image => image.failed?.retry).forEach(enqueue);
  show();
  findModel().then(classifyWaiting);
}

// While the page asks for an access code, images wait for it.
function classifyWaiting() {
  if (!at("token-form").hidden) {
    for (const { card } of waiting) card.querySelector(".label").textContent = "waiting for the access code";
    return;
  }
  while (running < MAX_CONCURRENT && waiting.length) {
    const image = waiting.shift();
    running += 1;
    classify(image).finally(() => { running -= 1; show(); classifyWaiting(); });
  }
}

async function classify(image) {
  const { card, file } = image, picture = card.querySelector("img");
  try {
    const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
    if (!FILE_SIGNATURES.some(signature => signature.every((byte, place) => start[place] === byte)))
      throw Object.assign(new Error("not a PNG or JPEG file"), { rejected: true });
    picture.src = URL.createObjectURL(file);
    picture.onload = () => {
      card.querySelector(".picture").style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
      card.querySelector(".picture").hidden = false;
    };
    image.prediction = await predict(image, "serving_default");
    showPrediction(image);
    if (at("heat-maps").checked) await showHeat(image);
  } catch (error) {
    image.failed = { retry: !error.rejected };
    card.querySelector(".label").textContent = "No prediction";
    const line = card.querySelector(".referral");
    line.textContent = error.message;
    line.className = "referral error";
    line.dataset.referral = "failed";
  }
}

function showPrediction({ card, prediction, file }) {
  const decision = decisionOf(prediction), refer = referral(prediction), line = card.querySelector(".referral");
  card.querySelector("img").alt = `${file.name}, classified as ${prediction.label}`;
  card.querySelector(".label").textContent = prediction.label;
  if (decision) showDecision(card.querySelector(".probability"), decision);
  card.querySelector(".label").after(probabilities(prediction));
  line.textContent = refer?.text
    ?? (decision?.threshold === undefined ? "Not referred" : "Not referred: clear of the threshold");
  line.className = `referral ${refer ? "refer" : "clear"}`;
  line.dataset.referral = refer?.kind ?? "none";
  card.querySelector("button").hidden = false;
}

const percent = value => `${100 * value}%`;

function showDecision(bar, { name, score, threshold }) {
  bar.hidden = false;
  bar.setAttribute("aria-label", `probability of ${name} ${score.toFixed(3)}`
    + (threshold === undefined ? "" : `, threshold ${threshold.toFixed(3)}`));
  bar.querySelector(".fill").style.width = percent(score);
  for (const part of [".band", ".threshold"]) bar.querySelector(part).hidden = threshold === undefined;
  if (threshold !== undefined) {
    const { low, high } = band(threshold);
    bar.querySelector(".band").style.left = percent(low);
    bar.querySelector(".band").style.width = percent(high - low);
    bar.querySelector(".threshold").style.left = `calc(${percent(threshold)} - 1px)`;
  }
}

// The probabilities in a line for two classes, else as a bar each, and that of the positive group.
function probabilities(prediction) {
  const { classes, label, positive_score: positive } = prediction;
  const texts = classes.map((name, place) => `${name} ${prediction.probabilities[place].toFixed(3)}`);
  if (classes.length === 2) return element("span", "soft probabilities", texts.join(" · "));
  const list = element("div", "probabilities");
  classes.forEach((name, place) => {
    const row = element("p", name === label ? "class likeliest" : "class", texts[place]);
    row.style.setProperty("--share", percent(prediction.probabilities[place]));
    list.append(row);
  });
  if (positive !== undefined)
    list.append(element("p", "group-score", `Positive group ${positive.toFixed(3)}: ${signOf(positive, thresholdOf(prediction))}`));
  return list;
}

function element(tag, style, text) {
  const made = document.createElement(tag);
  made.className = style ?? "";
  if (text !== undefined) made.textContent = text;
  return made;
}

async function showHeat(image) {
  const canvas = image.card.querySelector("canvas"), button = image.card.querySelector("button");
  if (image.loading) return;
  image.loading = true;  // a disabled button would lose the focus
  try {
    image.heat ??= (await predict(image, "explain")).heat_map;
    const found = image.heat.flat().some(value => value > 0);
    draw(canvas, image.heat);
    canvas.hidden = !found;
    button.setAttribute("aria-pressed", "true");
    button.textContent = `Heat map: ${found ? "green" : "no region"} supports ${image.prediction.label}`;
  } catch (error) {
    button.textContent = `No heat map: ${error.message}`;
  }
  image.loading = false;
}

function hideHeat({ card }) {
  card.querySelector("canvas").hidden = true;
  const button = card.querySelector("button");
  button.setAttribute("aria-pressed", "false");
  button.textContent = "Heat map";
}

function toggleHeat(image) {
  if (image.card.querySelector("button").getAttribute("aria-pressed") === "true") hideHeat(image);
  else showHeat(image);
}

function draw(canvas, heat) {
  [canvas.width, canvas.height] = [heat[0].length, heat.length];
  const pixels = new ImageData(canvas.width, canvas.height);
  heat.flat().forEach((value, place) => {
    pixels.data.set([...HEAT_COLOR, Math.round(255 * MAX_OPACITY * Math.min(Math.max(value, 0), 1))], 4 * place);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function show() {
  const done = images.filter(image => image.prediction || image.failed).length;
  const failed = images.filter(image => image.failed).length;
  const again = images.filter(image => image.failed?.retry).length;
  const without = failed ? `, ${failed} without a prediction` : "";
  at("retry").hidden = !again;
  at("retry").textContent = `Try ${again} again`;
  at("progress").textContent = images.length ? `${done} of ${images.length} images done${without}` : "";
  [at("progress").dataset.done, at("progress").dataset.failed] = [done, failed];
  at("bar").hidden = done === images.length;
  at("bar").max = Math.max(images.length, 1);
  at("bar").value = done;
  at("clear").disabled = !images.length;
  const first = images.find(image => image.prediction)?.prediction;
  if (first) showKind(first.classes, first.positive_score !== undefined);
  showPatients();
}

// Show what the page says about models of this kind.
function showKind(classes, hasGroup) {
  document.body.dataset.kind = kindOf(classes, hasGroup);
  const group = served?.info?.positive ?? [];
  for (const place of document.querySelectorAll(".positive"))
    place.textContent = classes.length === 2 ? classes[1] : "the positive group";
  for (const place of document.querySelectorAll(".group")) place.textContent = group.join(", ") || "not listed";
}

function showPatients() {
  const rows = patients();
  at("patients").hidden = !rows.length;
  at("patient-rows").replaceChildren(...rows.map(patient => {
    const row = document.createElement("tr");
    row.dataset.referral = patient.referral?.kind ?? "none";
    const cells = [["th", patient.name], ["td", patient.label ?? "none: the model has no threshold", "text"],
      ["td", patient.mean.toFixed(3)],
      ...(patient.positive ? [["td", patient.positive, "text"]] : []), ["td", `${patient.referred} of ${patient.count}`],
      ["td", patient.referral?.text ?? "Not referred", `text referral ${patient.referral ? "refer" : "clear"}`]];
    for (const [tag, text, style] of cells) {
      const cell = element(tag, style, text);
      if (tag === "th") cell.scope = "row";
      row.append(cell);
    }
    return row;
  }));
}

function clear() {
  for (const { card } of images) {
    URL.revokeObjectURL(card.querySelector("img").src);
    card.remove();
  }
  images = [];
  waiting = [];
  at("files").value = "";
  at("predictions").hidden = true;
  show();
  at("files").focus();
}

const HEADS = { parallel: "a CNN and an LSTM branch", serial: "an LSTM branch", none: "a CNN branch" };

// "a, b and c"
const listed = (names, last) => [names.slice(0, -1).join(", "), names.at(-1)].join(` ${last} `);

function decisionRule({ classes, positive, calibration }) {
  const threshold = calibration.threshold?.toFixed(3);
  if (classes.length === 2) return `An image is classified as ${classes[1]} if its probability is at least ${threshold}.`;
  const group = positive?.length
    ? ` It is positive if the probabilities of ${listed(positive, "and")} add up to at least ${threshold}.` : "";
  return `An image is classified as the likeliest class.${group}`;
}

function cardRows() {
  const info = served?.info;
  if (!info) return [["Model", "This model comes without a description (assets.extra/knet.json)."]];
  const share = value => `${(100 * value).toFixed(1)} %`, figure = value => value.toFixed(3);
  const { calibration, image_limits: limits, rejected } = info;
  const title = (info.backbone || info.candidate) === info.candidate ? info.candidate : `${info.candidate} (${info.backbone})`;
  return [
    ["Model", `The neural network ${title} with ${HEADS[info.head ?? "parallel"]}, version ${served.version}, ${info.parameters.toLocaleString("en")} parameters. `
      + `It scales images to ${info.image_size} × ${info.image_size} pixels, and classifies them as ${listed(info.classes, "or")}.`],
    ["Intended use", "Research into classifying microscope images, and comparing networks for it. Intended users: engineers and researchers."],
    ["Learned from", info.synthetic_data ? "Artificial images: the model has never seen tissue."
      : `${info.train_images.toLocaleString("en")} images, from ${info.weights} weights, ${info.epochs} passes over them (epochs); calibrated on ${info.validation_images.toLocaleString("en")} images of other patients.`],
    ["Decision", `${decisionRule(info)} Probabilities are calibrated on the validation images (temperature ${figure(calibration.temperature)}); `
      + `there they differ from the true shares by ${figure(calibration.after.calibration_error)} on average (calibration error; Brier score ${figure(calibration.after.brier)}).`],
    ["Flagged images", `Predictions are flagged as unreliable for images with less than ${share(limits.min_tissue)} tissue, too blurred or noisy (Laplacian variance outside ${limits.min_sharpness.toFixed(0)} to ${limits.max_sharpness.toFixed(0)}), `
      + `or too unlike the training images (distance above ${limits.max_distance.toFixed(1)}): ${share(rejected.validation)} of the validation images.`],
    ["Limits", "The model sees one field of view, not a whole slide or a patient history. It was not tested on scanners, stains, organs and tissues outside the training data. "
      + "Probabilities depend on how common the classes are in the training data. The run report has the metrics on test patients, with confidence intervals."],
    ["Provenance", `data ${info.fingerprint || "unknown"}; split ${info.split_sha256 || "unknown"}; commit ${info.commit ?? "unknown"}; seed ${info.seed}. Details: knet lineage ${served.version}.`],
    ["Licence", "The software is under Apache-2.0. The training images have separate terms."],
  ];
}

function showCard() {
  at("card-list").replaceChildren(...cardRows().flatMap(([term, text]) =>
    [element("dt", "", term), element("dd", "", text)]));
  at("card").showModal();
}

// --- events -----------------------------------------------------------------------------------------------

at("files").addEventListener("change", event => add(event.target.files));
at("retry").addEventListener("click", retry);
at("clear").addEventListener("click", clear);
at("patient").addEventListener("input", showPatients);
at("heat-maps").addEventListener("change", event => {
  for (const image of images.filter(image => image.prediction)) (event.target.checked ? showHeat : hideHeat)(image);
});
at("card-button").addEventListener("click", async () => { await findModel(); showCard(); });
at("card-close").addEventListener("click", () => at("card").close());
at("token-form").addEventListener("submit", event => { event.preventDefault(); findModel().then(() => at("token-form").hidden && retry()); });
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(name, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") add(event.dataTransfer.files);
  });
findModel();
