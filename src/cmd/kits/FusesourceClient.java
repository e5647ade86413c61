// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" in Java, with the MQTT client that Debian and Ubuntu
// have (apt install libmqtt-client-java).
//
//     J=/usr/share/java
//     java -cp $J/mqtt-client.jar:$J/hawtbuf.jar:$J/hawtdispatch.jar:$J/hawtdispatch-transport.jar FusesourceClient.java [FOLDER]
//
// FOLDER has client.p12 and client.p12.password; it is the current one if not
// given.
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyManagementException;
import java.security.KeyStore;
import java.security.SecureRandom;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLContextSpi;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocketFactory;
import javax.net.ssl.SSLSessionContext;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import org.fusesource.mqtt.client.BlockingConnection;
import org.fusesource.mqtt.client.MQTT;
import org.fusesource.mqtt.client.Message;
import org.fusesource.mqtt.client.QoS;
import org.fusesource.mqtt.client.Topic;

public class FusesourceClient {
    static final String HOST = "@NJ_HOST@", URL = "ssl://@NJ_URLHOST@:@NJ_PORT@", ID = "@NJ_ID@";
    static final int PORT = @NJ_PORT@;

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

    /** This library asks for an engine without saying for whom, so that nobody
     * would compare the broker's name with its certificate. */
    static class NameChecked extends SSLContext {
        NameChecked(SSLContext context) {
            super(new Spi(context), context.getProvider(), context.getProtocol());
        }

        static class Spi extends SSLContextSpi {
            final SSLContext context;

            Spi(SSLContext context) {
                this.context = context;
            }

            protected SSLEngine engineCreateSSLEngine() {
                return engineCreateSSLEngine(HOST, PORT);
            }

            protected SSLEngine engineCreateSSLEngine(String host, int port) {
                SSLEngine engine = context.createSSLEngine(host, port);
                SSLParameters parameters = engine.getSSLParameters();
                parameters.setEndpointIdentificationAlgorithm("HTTPS");
                engine.setSSLParameters(parameters);
                return engine;
            }

            protected void engineInit(KeyManager[] k, TrustManager[] t, SecureRandom r) throws KeyManagementException {
                throw new KeyManagementException("it is ready already");
            }

            protected SSLSocketFactory engineGetSocketFactory() {
                return context.getSocketFactory();
            }

            protected SSLServerSocketFactory engineGetServerSocketFactory() {
                return context.getServerSocketFactory();
            }

            protected SSLSessionContext engineGetServerSessionContext() {
                return context.getServerSessionContext();
            }

            protected SSLSessionContext engineGetClientSessionContext() {
                return context.getClientSessionContext();
            }
        }
    }

    public static void main(String[] args) throws Exception {
        MQTT mqtt = new MQTT();
        mqtt.setHost(URL);
        mqtt.setSslContext(new NameChecked(tls(Path.of(args.length > 0 ? args[0] : "."))));
        mqtt.setClientId(ID);
        mqtt.setVersion("3.1.1");
        mqtt.setConnectAttemptsMax(1);
        BlockingConnection connection = mqtt.blockingConnection();
        connection.connect();
        System.out.println("connected as " + ID);
        connection.subscribe(new Topic[] { new Topic("devices/" + ID + "/#", QoS.AT_LEAST_ONCE) });
        connection.publish("devices/" + ID + "/hello", ("hello from " + ID).getBytes(), QoS.AT_LEAST_ONCE, false);
        for (;;) {
            Message message = connection.receive();
            System.out.println(message.getTopic() + " " + new String(message.getPayload()));
            message.ack();
        }
    }
}
