import com.google.protobuf.ByteString;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.MetadataUtils;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import tensorflow.Tensor.DataType;
import tensorflow.Tensor.TensorProto;
import tensorflow.Tensor.TensorShapeProto;
import tensorflow.serving.Predict.ModelSpec;
import tensorflow.serving.Predict.PredictRequest;
import tensorflow.serving.Predict.PredictResponse;
import tensorflow.serving.PredictionServiceGrpc;

/**
 * Classifies image files with a served model.
 *
 * <p>Usage: java -jar classify-1.jar HOST:PORT IMAGE... The environment may have KNET_CA, a CA bundle (PEM) that
 * verifies the server, and KNET_TOKEN, a bearer token, which is sent over TLS alone.
 */
public final class Classify {
  private static final int MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
  private static final int SECONDS = 30;

  public static void main(String[] arguments) throws IOException, InterruptedException {
    if (arguments.length < 2) {
      System.err.println("usage: classify HOST:PORT IMAGE...");
      System.exit(2);
    }
    List<String> images = Arrays.asList(arguments).subList(1, arguments.length);
    ManagedChannel channel =
        Grpc.newChannelBuilder("dns:///" + arguments[0], credentials())
            .defaultLoadBalancingPolicy("round_robin") // every address of the name in turn
            .enableRetry()
            .maxInboundMessageSize(MAX_MESSAGE_BYTES)
            .build();
    try {
      print(images, predict(channel, images));
    } catch (StatusRuntimeException error) {
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
      System.exit(1);
    } finally {
      channel.shutdown().awaitTermination(SECONDS, TimeUnit.SECONDS);
    }
  }

  private static ChannelCredentials credentials() throws IOException {
    String bundle = System.getenv("KNET_CA");
    return bundle == null
        ? InsecureChannelCredentials.create()
        : TlsChannelCredentials.newBuilder().trustManager(new File(bundle)).build();
  }

  private static PredictResponse predict(ManagedChannel channel, List<String> images)
      throws IOException {
    TensorProto.Builder tensor =
        TensorProto.newBuilder()
            .setDtype(DataType.DT_STRING)
            .setTensorShape(
                TensorShapeProto.newBuilder()
                    .addDim(TensorShapeProto.Dim.newBuilder().setSize(images.size())));
    for (String image : images) {
      tensor.addStringVal(ByteString.copyFrom(Files.readAllBytes(Path.of(image))));
    }
    PredictRequest request =
        PredictRequest.newBuilder()
            .setModelSpec(ModelSpec.newBuilder().setName("knet"))
            .putInputs("image", tensor.build())
            .build();
    PredictionServiceGrpc.PredictionServiceBlockingStub stub =
        PredictionServiceGrpc.newBlockingStub(channel).withDeadlineAfter(SECONDS, TimeUnit.SECONDS);
    String token = System.getenv("KNET_TOKEN");
    if (token != null && System.getenv("KNET_CA") != null) {
      Metadata headers = new Metadata();
      headers.put(
          Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + token);
      stub = stub.withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers));
    }
    return stub.predict(request);
  }

  /** Prints a line for each image: file, label, score, a flag and the version. */
  private static void print(List<String> images, PredictResponse response) {
    TensorProto labels = response.getOutputsOrThrow("label");
    TensorProto scores = response.getOutputsOrThrow("score");
    TensorProto inDistribution = response.getOutputsOrThrow("in_distribution");
    for (int row = 0; row < images.size(); row++) {
      System.out.printf(
          "%s\t%s\t%s\t%s\tversion %d%n",
          images.get(row),
          labels.getStringVal(row).toStringUtf8(),
          scores.getFloatVal(row),
          inDistribution.getBoolVal(row) ? "reliable" : "unreliable",
          response.getModelSpec().getVersion().getValue());
    }
  }
}
