import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.analysis.common.CommonAnalysisPlugin;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.index.reindex.ReindexPlugin;
import org.elasticsearch.node.Node;
import org.elasticsearch.painless.PainlessPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.transport.Netty4Plugin;

/**
 * A node of its own for tests and benchmarks: `java ElasticsearchNode.java FOLDER PORT`, with a setting
 * `name=value` in each further argument. It listens on 127.0.0.1 only.
 */
public final class ElasticsearchNode extends Node {
  private ElasticsearchNode(Settings settings, List<Class<? extends Plugin>> plugins) {
    super(new Environment(settings, null), plugins, false);
  }

  public static void main(String[] arguments) throws Exception {
    Settings.Builder settings =
        Settings.builder()
            .put("cluster.name", "orrery")
            .put("node.name", "orrery")
            .put("path.home", arguments[0])
            .put("path.data", Path.of(arguments[0], "data"))
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("http.type", "netty4")
            .put("transport.type", "netty4")
            .put("discovery.type", "single-node")
            // What production should have too: indices are made on purpose.
            .put("action.auto_create_index", false)
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
    for (int i = 2; i < arguments.length; i++) {
      String[] setting = arguments[i].split("=", 2);
      settings.put(setting[0], setting[1]);
    }
    Node node =
        new ElasticsearchNode(
            settings.build(),
            List.of(
                Netty4Plugin.class, CommonAnalysisPlugin.class, PainlessPlugin.class, ReindexPlugin.class));
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    node.close();
                  } catch (Exception error) {
                    error.printStackTrace();
                  }
                }));
    node.start();
    new CountDownLatch(1).await();
  }
}
