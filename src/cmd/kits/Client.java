// SPDX-License-Identifier: Apache-2.0
// The device "@NJ_ID@" in Java, with nothing but the JDK (11 or later).
//
//     java Client.java [FOLDER]
//
// FOLDER has the files that it needs, client.p12 and client.p12.password; it
// is the current one if not given.  The program connects with its certificate,
// listens to devices/@NJ_ID@/# and says hello there.  It speaks as much of
// MQTT 3.1.1 as that takes; PahoClient.java and FusesourceClient.java do the
// same with a library.
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

public class Client {
    static final String HOST = "@NJ_HOST@", ID = "@NJ_ID@";
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

    static SSLSocket connect(SSLContext context) throws IOException {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(HOST, PORT);
        SSLParameters parameters = socket.getSSLParameters();
        // Java does not compare the broker's name with its certificate unless told to.
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        return socket;
    }

    static DataOutputStream out;

    interface Body {
        void put(DataOutputStream to) throws IOException;
    }

    static synchronized void send(int first, Body body) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        body.put(new DataOutputStream(bytes));
        out.writeByte(first);
        int n = bytes.size();
        do {
            out.writeByte(n > 127 ? n % 128 | 128 : n);
            n /= 128;
        } while (n > 0);
        out.write(bytes.toByteArray());
        out.flush();
    }

    static void publish(String topic, String text) throws IOException {
        send(0x30, to -> {
            to.writeUTF(topic);
            to.write(text.getBytes("UTF-8"));
        });
    }

    static void keepAlive() {
        try {
            for (;;) {
                Thread.sleep(30_000);
                send(0xc0, to -> { });
            }
        } catch (IOException | InterruptedException e) {
            // the reader below sees it, too
        }
    }

    static void received(int first, DataInputStream body) throws IOException {
        switch (first >> 4) {
        case 2: // CONNACK
            body.readByte();
            int code = body.readByte();
            if (code != 0)
                throw new IOException("refused with code " + code);
            System.out.println("connected as " + ID);
            send(0x82, to -> {
                to.writeShort(1);
                to.writeUTF("devices/" + ID + "/#");
                to.writeByte(1);
            });
            break;
        case 9: // SUBACK
            publish("devices/" + ID + "/hello", "hello from " + ID);
            break;
        case 3: // PUBLISH
            String topic = body.readUTF();
            if ((first & 0x06) != 0) {
                int packet = body.readUnsignedShort();
                send(0x40, to -> to.writeShort(packet));
            }
            System.out.println(topic + " " + new String(body.readAllBytes(), "UTF-8"));
            break;
        default: // PINGRESP, PUBACK
        }
    }

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args.length > 0 ? args[0] : ".");
        try (SSLSocket socket = connect(tls(folder))) {
            DataInputStream in = new DataInputStream(socket.getInputStream());
            out = new DataOutputStream(socket.getOutputStream());
            send(0x10, to -> {
                to.writeUTF("MQTT");
                to.writeByte(4);
                to.writeByte(2); // clean session
                to.writeShort(60);
                to.writeUTF(ID);
            });
            Thread pings = new Thread(Client::keepAlive);
            pings.setDaemon(true);
            pings.start();
            for (;;) {
                int first = in.readUnsignedByte(), n = 0, shift = 0, b;
                do {
                    b = in.readUnsignedByte();
                    n |= (b & 127) << shift;
                    shift += 7;
                } while (b > 127 && shift < 28);
                byte[] body = new byte[n];
                in.readFully(body);
                received(first, new DataInputStream(new ByteArrayInputStream(body)));
            }
        }
    }
}
