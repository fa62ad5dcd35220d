import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.bootstrap.ServerArgs;
import org.elasticsearch.common.io.stream.OutputStreamStreamOutput;
import org.elasticsearch.common.settings.KeyStoreWrapper;
import org.elasticsearch.common.settings.Settings;

/**
 * A server of its own for tests and benchmarks: `java @server.options ... ElasticsearchServer.java FOLDER PORT CONFIGURATION`,
 * with a setting `name=value` in each further argument. It listens on 127.0.0.1 only. The server starts as in production,
 * but for the programs before it: they would make passwords and certificates, and are two more processes.
 */
public final class ElasticsearchServer {
  public static void main(String[] arguments) throws Exception {
    Path folder = Path.of(arguments[0]);
    Settings.Builder settings =
        Settings.builder()
            .put("cluster.name", "orrery")
            .put("node.name", "orrery")
            .put("path.home", System.getProperty("es.path.home"))
            .put("path.data", folder.resolve("data"))
            .put("path.logs", folder.resolve("logs"))
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.port", 0)
            .put("discovery.type", "single-node")
            // The host's vm.max_map_count may be too small for it.
            .put("node.store.allow_mmap", false)
            // What production should have too: indices are made on purpose.
            .put("action.auto_create_index", false)
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            // Each time it takes away the blocks of indices for a full disk, as a test sets them.
            .put("cluster.info.update.interval", "1d");
    for (int i = 3; i < arguments.length; i++) {
      String[] setting = arguments[i].split("=", 2);
      settings.put(setting[0], setting[1]);
    }
    var bytes = new ByteArrayOutputStream();
    new ServerArgs(
            false,
            false,
            null,
            KeyStoreWrapper.create(),
            settings.build(),
            Path.of(arguments[2]),
            folder.resolve("logs"))
        .writeTo(new OutputStreamStreamOutput(bytes));
    System.setIn(new Endless(bytes.toByteArray()));
    var main = Class.forName("org.elasticsearch.bootstrap.Elasticsearch").getDeclaredMethod("main", String[].class);
    main.setAccessible(true);
    main.invoke(null, (Object) new String[0]);
  }

  /** The server reads its arguments, and ends when there is an end after them: whoever started it would be gone. */
  private static final class Endless extends InputStream {
    private final byte[] bytes;
    private int next = 0;

    Endless(byte[] bytes) {
      this.bytes = bytes;
    }

    @Override
    public int read() {
      if (next < bytes.length) return bytes[next++] & 255;
      try {
        new CountDownLatch(1).await();
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
      }
      return -1;
    }

    /** One at a time: the inherited one would wait until there are as many as were asked for. */
    @Override
    public int read(byte[] into, int offset, int length) {
      if (length == 0) return 0;
      int value = read();
      if (value < 0) return -1;
      into[offset] = (byte) value;
      return 1;
    }
  }
}
