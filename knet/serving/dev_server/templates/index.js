"use strict";
const FACTOR = 3;        // of the odds: within it of the threshold's an image is referred
const AT_ONCE = 2;       // requests
const HEAT = [0, 200, 80], STRONGEST = 0.65;  // as in the report
const BREAKHIS = /^SOB_[BM]_(?:A|F|PT|TA|DC|LC|MC|PC)-(\d{2}-\d+)[A-Z]*-\d+-\d+\.\w+$/;
const SIGNATURES = [[0x89, 0x50, 0x4e, 0x47], [0xff, 0xd8, 0xff]];  // of PNG and JPEG files

const at = id => document.getElementById(id);
const model = document.body.dataset.model;
let served = null;       // { version, info }: what the newest version says of itself, null where it says nothing
let images = [];         // { file, patient, card, answer, heat }
let waiting = [], running = 0;

// --- the server -------------------------------------------------------------------------------------------

async function ask(path, options = {}) {
  const token = at("token").value ? { Authorization: `Bearer ${at("token").value}` } : {};
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: { ...token, ...options.headers }, cache: "no-store" });
  } catch {
    throw new Error("the server does not answer");
  }
  const text = await reply.text();
  let tree = null;
  try { tree = JSON.parse(text); } catch { /* the status says enough */ }
  if (reply.status === 401) at("token-form").hidden = false;
  if (!reply.ok || !tree) throw new Error(tree?.error?.split("\n")[0] || `${reply.status} ${reply.statusText}`);
  return tree;
}

async function predict(image, signature) {
  const body = JSON.stringify({ signature_name: signature, instances: [{ b64: await base64(image.file) }] });
  const patient = patientOf(image);
  const headers = patient ? { "X-Patient": encodeURIComponent(patient) } : {};
  const tree = await ask(`v1/models/${model}:predict`, { method: "POST", headers, body });
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
    const statuses = (await ask(`v1/models/${model}`)).model_version_status;
    const versions = statuses.filter(status => status.state === "AVAILABLE").map(status => Number(status.version));
    if (!versions.length) throw new Error(`no version of ${model} is available`);
    const info = await ask("card").catch(() => null);
    served = { version: Math.max(...versions), info: info?.calibration ? info : null };  // else of another pipeline
    at("trouble").hidden = true;
    at("served").textContent = `Version ${served.version}`
      + (served.info ? `, ${served.info.candidate}, ${served.info.classes.join(" or ")}` : "");
    at("synthetic").hidden = !served.info?.synthetic_data;
    at("token-form").hidden = true;
  } catch (error) {
    at("served").textContent = "No model";
    at("trouble").textContent = `No model: ${error.message}.`;
    at("trouble").hidden = false;
  }
}

// --- what an answer means ---------------------------------------------------------------------------------

// The one by which the label was decided; undefined where neither the answer nor the card says it.
const thresholdOf = answer => answer.threshold ?? served?.info?.calibration?.threshold;

function band(threshold) {
  const p = threshold, q = 1 - threshold;  // whose quotient are the odds
  return { low: p / (p + FACTOR * q), high: FACTOR * p / (FACTOR * p + q) };
}

function near(probability, threshold) {
  if (threshold === undefined) return false;
  const { low, high } = band(threshold);
  return probability > low && probability < high;
}

function referral(answer) {
  const reasons = answer.reasons.filter(Boolean);
  if (!answer.in_distribution) return `Refer to a pathologist: the model does not vouch for this image (${reasons.join(", ")})`;
  if (near(answer.score, thresholdOf(answer))) return "Refer to a pathologist: close to the threshold";
  return "";
}

function patients() {
  const groups = new Map();
  for (const image of images.filter(image => image.answer)) {
    const name = patientOf(image) || "not named";
    groups.set(name, [...groups.get(name) ?? [], image.answer]);
  }
  return [...groups].sort().map(([name, answers]) => {
    const threshold = thresholdOf(answers[0]);
    const mean = answers.reduce((sum, answer) => sum + answer.score, 0) / answers.length;
    const doubted = answers.filter(answer => !answer.in_distribution).length;
    const why = [];
    if (near(mean, threshold)) why.push("mean close to the threshold");
    if (2 * doubted >= answers.length) why.push(`${doubted} of ${answers.length} not vouched for`);
    return {
      name, mean,
      count: answers.length,
      called: threshold === undefined ? "the model has no threshold" : answers[0].classes[mean >= threshold ? 1 : 0],
      refer: answers.filter(referral).length,
      why: why.length ? `Refer: ${why.join("; ")}` : "",
    };
  });
}

// --- the page ---------------------------------------------------------------------------------------------

function add(files) {
  for (const file of files) {
    const card = at("answer").content.cloneNode(true).querySelector("li");
    const image = { file, card, patient: BREAKHIS.exec(file.name)?.[1] ?? null, answer: null, heat: null };
    card.querySelector(".name").textContent = file.name;
    card.querySelector(".called").textContent = "waiting …";
    card.querySelector(".probability").hidden = true;
    card.querySelector(".picture").hidden = true;
    card.querySelector("button").addEventListener("click", () => toggleHeat(image));
    at("cards").append(card);
    images.push(image);
    waiting.push(image);
  }
  at("answers").hidden = !images.length;
  show();
  findModel().then(work);
}

function work() {
  while (running < AT_ONCE && waiting.length) {
    const image = waiting.shift();
    running += 1;
    answer(image).finally(() => { running -= 1; show(); work(); });
  }
}

async function answer(image) {
  const { card, file } = image, picture = card.querySelector("img");
  try {
    const start = new Uint8Array(await file.slice(0, 4).arrayBuffer());
    if (!SIGNATURES.some(signature => signature.every((byte, place) => start[place] === byte)))
      throw new Error("this is no PNG or JPEG file");
    picture.src = URL.createObjectURL(file);
    picture.onload = () => {
      card.querySelector(".picture").style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
      card.querySelector(".picture").hidden = false;
    };
    image.answer = await predict(image, "serving_default");
    showAnswer(image);
    if (at("heat-maps").checked) await showHeat(image);
  } catch (error) {
    image.failed = true;
    card.querySelector(".called").textContent = "No answer";
    const line = card.querySelector(".referral");
    line.textContent = error.message;
    line.className = "referral error";
  }
}

function showAnswer({ card, answer, file }) {
  const positive = answer.classes[1], percent = value => `${100 * value}%`, threshold = thresholdOf(answer);
  card.querySelector("img").alt = `${file.name}, called ${answer.label}`;
  card.querySelector(".called").textContent = answer.label;
  const bar = card.querySelector(".probability");
  bar.hidden = false;
  bar.setAttribute("aria-label", `probability of ${positive} ${answer.score.toFixed(3)}`
    + (threshold === undefined ? "" : `, threshold ${threshold.toFixed(3)}`));
  bar.querySelector(".fill").style.width = percent(answer.score);
  for (const name of [".band", ".threshold"]) bar.querySelector(name).hidden = threshold === undefined;
  if (threshold !== undefined) {
    const { low, high } = band(threshold);
    bar.querySelector(".band").style.left = percent(low);
    bar.querySelector(".band").style.width = percent(high - low);
    bar.querySelector(".threshold").style.left = `calc(${percent(threshold)} - 1px)`;
  }
  const probabilities = document.createElement("span");
  probabilities.className = "soft probabilities";
  probabilities.textContent = answer.classes.map((name, place) => `${name} ${answer.probabilities[place].toFixed(3)}`).join(" · ");
  card.querySelector(".called").after(probabilities);
  const why = referral(answer), line = card.querySelector(".referral");
  line.textContent = why || (threshold === undefined ? "Not referred" : "Not referred: clear of the threshold");
  line.className = `referral ${why ? "refer" : "clear"}`;
  card.querySelector("button").hidden = false;
}

async function showHeat(image) {
  const canvas = image.card.querySelector("canvas"), button = image.card.querySelector("button");
  if (image.asking) return;
  image.asking = true;  // a disabled button would lose the focus
  try {
    image.heat ??= (await predict(image, "explain")).heat_map;
    draw(canvas, image.heat);
    canvas.hidden = false;
    button.setAttribute("aria-pressed", "true");
    button.textContent = `Heat map: green spoke for ${image.answer.label}`;
  } catch (error) {
    button.textContent = `No heat map: ${error.message}`;
  }
  image.asking = false;
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
    pixels.data.set([...HEAT, Math.round(255 * STRONGEST * Math.min(Math.max(value, 0), 1))], 4 * place);
  });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function show() {
  const done = images.filter(image => image.answer || image.failed).length;
  const failed = images.filter(image => image.failed).length;
  const refused = failed ? `, ${failed} without an answer` : "";
  at("progress").textContent = images.length ? `${done} of ${images.length} images done${refused}` : "";
  at("bar").hidden = done === images.length;
  at("bar").max = Math.max(images.length, 1);
  at("bar").value = done;
  at("clear").disabled = !images.length;
  const positive = images.find(image => image.answer)?.answer.classes[1];
  for (const place of document.querySelectorAll(".positive")) place.textContent = positive ?? "the second class";
  showPatients();
}

function showPatients() {
  const rows = patients();
  at("patients").hidden = !rows.length;
  at("patient-rows").replaceChildren(...rows.map(patient => {
    const row = document.createElement("tr");
    const cells = [["th", patient.name], ["td", patient.called, "text"], ["td", patient.mean.toFixed(3)],
      ["td", `${patient.refer} of ${patient.count}`],
      ["td", patient.why || "Not referred", `text referral ${patient.why ? "refer" : "clear"}`]];
    for (const [tag, text, style] of cells) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      cell.className = style ?? "";
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
  at("answers").hidden = true;
  show();
  at("files").focus();
}

function cardRows() {
  const info = served?.info;
  if (!info) return [["Model", "It says nothing about itself: it has no assets.extra/knet.json."]];
  const share = value => `${(100 * value).toFixed(1)} %`, figure = value => value.toFixed(3);
  const { calibration, image_limits: limits, rejected } = info;
  return [
    ["Model", `${info.candidate} with a CNN and an LSTM branch, version ${served.version}, ${info.parameters.toLocaleString("en")} parameters, `
      + `images of ${info.image_size} × ${info.image_size} px, classes ${info.classes.join(" and ")}.`],
    ["Intended use", "Research into classifying microscope images, and comparing networks for it. Its users are engineers and researchers."],
    ["Trained on", info.synthetic_data ? "Synthetic images that a program drew: the model knows nothing about tissue."
      : `${info.train_images.toLocaleString("en")} images, from ${info.weights} weights, ${info.epochs} epochs; calibrated on ${info.validation_images.toLocaleString("en")} images of other patients.`],
    ["Decision", `From a probability of ${figure(calibration.threshold)} on an image is called ${info.classes[1]}. Temperature ${figure(calibration.temperature)}. `
      + `On the validation images, on which both were fitted: calibration error ${figure(calibration.after.calibration_error)}, Brier score ${figure(calibration.after.brier)}.`],
    ["Doubt", `It does not vouch for images with less than ${share(limits.least_tissue)} tissue, a Laplacian variance outside ${limits.least_laplacian.toFixed(0)} to ${limits.largest_laplacian.toFixed(0)}, `
      + `or farther than ${limits.largest_distance.toFixed(1)} from the training images: ${share(rejected.validation)} of the validation images.`],
    ["Limits", "It sees one field of view, never a whole slide or a history. Other scanners, stains, organs and tissues than it was trained on are unknown to it. "
      + "The probability of a class depends on how common it is. The report of the run has its figures on test patients, with intervals."],
    ["Came from", `data ${info.fingerprint || "unknown"}; split ${info.split_sha256 || "unknown"}; commit ${info.commit ?? "unknown"}; seed ${info.seed}. knet lineage ${served.version} has the rest.`],
    ["Licence", "The software is under Apache-2.0. The training images have terms of their own."],
  ];
}

function showCard() {
  at("card-list").replaceChildren(...cardRows().flatMap(([term, text]) => {
    const [dt, dd] = ["dt", "dd"].map(tag => document.createElement(tag));
    [dt.textContent, dd.textContent] = [term, text];
    return [dt, dd];
  }));
  at("card").showModal();
}

// --- what the user does -----------------------------------------------------------------------------------

at("files").addEventListener("change", event => add(event.target.files));
at("clear").addEventListener("click", clear);
at("patient").addEventListener("input", showPatients);
at("heat-maps").addEventListener("change", event => {
  for (const image of images.filter(image => image.answer)) (event.target.checked ? showHeat : hideHeat)(image);
});
at("card-button").addEventListener("click", async () => { await findModel(); showCard(); });
at("card-close").addEventListener("click", () => at("card").close());
at("token-form").addEventListener("submit", event => { event.preventDefault(); findModel(); });
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  document.addEventListener(name, event => {
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop") add(event.dataTransfer.files);
  });
findModel();
