// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" in Java, with Eclipse Paho.
//
//     mvn -q compile exec:java
//
// or, with the library's jar, java -cp org.eclipse.paho.client.mqttv3-1.2.5.jar
// PahoClient.java [FOLDER].  FOLDER has client.p12 and client.p12.password; it
// is the current one if not given.
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.MqttAsyncClient;
import org.eclipse.paho.client.mqttv3.MqttCallbackExtended;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

public class PahoClient {
    static final String URL = "ssl://@NJ_URLHOST@:@NJ_PORT@", ID = "@NJ_ID@";

    /** Who we are and whom we trust, both from the one key store. */
    static SSLContext tls(Path folder) throws Exception {
        String given = System.getenv("KEY_PASSPHRASE");
        char[] password = (given != null ? given
                : Files.readString(folder.resolve("client.p12.password")).trim()).toCharArray();
        KeyStore store = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(folder.resolve("client.p12"))) {
            store.load(in, password);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password);
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        // The first argument is what makes the device show its certificate.
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    static class Listener implements MqttCallbackExtended {
        final MqttAsyncClient client;

        Listener(MqttAsyncClient client) {
            this.client = client;
        }

        public void connectComplete(boolean again, String url) {
            System.out.println("connected as " + ID);
            try {
                client.subscribe("devices/" + ID + "/#", 1);
                client.publish("devices/" + ID + "/hello", ("hello from " + ID).getBytes(), 1, false);
            } catch (MqttException e) {
                e.printStackTrace();
            }
        }

        public void messageArrived(String topic, MqttMessage message) {
            System.out.println(topic + " " + new String(message.getPayload()));
        }

        public void connectionLost(Throwable cause) {
            System.err.println("connection lost: " + cause);
        }

        public void deliveryComplete(IMqttDeliveryToken token) {
        }
    }

    public static void main(String[] args) throws Exception {
        MqttAsyncClient client = new MqttAsyncClient(URL, ID, new MemoryPersistence());
        MqttConnectOptions options = new MqttConnectOptions();
        options.setSocketFactory(tls(Path.of(args.length > 0 ? args[0] : ".")).getSocketFactory());
        options.setHttpsHostnameVerificationEnabled(true); // the broker's name is checked
        options.setAutomaticReconnect(true);
        client.setCallback(new Listener(client));
        try {
            client.connect(options).waitForCompletion();
        } catch (MqttException e) {
            System.err.println("not connected: " + (e.getCause() != null ? e.getCause() : e));
            System.exit(1);
        }
        Thread.currentThread().join();
    }
}
