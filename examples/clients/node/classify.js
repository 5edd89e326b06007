// Classifies image files with a served model.
//
// Usage: node classify.js HOST:PORT IMAGE... The environment may have KNET_CA, a CA bundle (PEM) that verifies the server,
// and KNET_TOKEN, a bearer token, which is sent over TLS alone.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const SECONDS = 30;
const repository = fileURLToPath(new URL('../../..', import.meta.url));
const definition = loader.loadSync('examples/clients/prediction_service.proto', {
  includeDirs: [repository],
  keepCase: true,
  longs: String,
});
const { PredictionService } = grpc.loadPackageDefinition(definition).tensorflow.serving;

async function credentials() {
  if (!process.env.KNET_CA) return grpc.credentials.createInsecure();
  const channel = grpc.credentials.createSsl(await readFile(process.env.KNET_CA));
  if (!process.env.KNET_TOKEN) return channel;
  const headers = new grpc.Metadata();
  headers.set('authorization', `Bearer ${process.env.KNET_TOKEN}`);
  return grpc.credentials.combineChannelCredentials(
    channel,
    grpc.credentials.createFromMetadataGenerator((_, done) => done(null, headers)),
  );
}

const [server, ...images] = process.argv.slice(2);
if (images.length === 0) {
  console.error('usage: classify.js HOST:PORT IMAGE...');
  process.exit(2);
}
const client = new PredictionService(`dns:///${server}`, await credentials(), {
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  // Every address of the name in turn.
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
});
const request = {
  model_spec: { name: 'knet' },
  inputs: {
    image: {
      dtype: 'DT_STRING',
      tensor_shape: { dim: [{ size: images.length }] },
      string_val: await Promise.all(images.map((image) => readFile(image))),
    },
  },
};
client.Predict(request, { deadline: Date.now() + SECONDS * 1000 }, (error, response) => {
  client.close();
  if (error) {
    console.error(`${grpc.status[error.code]}: ${error.details}`);
    process.exit(1);
  }
  const { label, score, in_distribution: inDistribution } = response.outputs;
  images.forEach((image, row) => {
    const flag = inDistribution.bool_val[row] ? 'reliable' : 'unreliable';
    const version = response.model_spec.version.value;
    console.log([image, label.string_val[row], score.float_val[row], flag, `version ${version}`].join('\t'));
  });
});
