package belvedere;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.time.Instant;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A Belvedere server for a test: started on free ports with a data folder of its own, ended with the test. */
final class Server implements AutoCloseable {
    private final Process process;
    private final Path data;
    /** Content of account.json: the first account, its keys and its domain. */
    final JsonNode account;

    /** Starts `belvedere serve` with one account that trusts an issuer. */
    static Server start(Issuer issuer) throws IOException, InterruptedException {
        Path data = Files.createTempDirectory("belvedere-test-");
        String account = createAccount(data, "first").get("accountId").asText();
        Path config = Files.writeString(data.resolve("belvedere.toml"), String.format(
            "[[oidc]]%nissuer = \"%s\"%naudience = \"%s\"%naccounts = [\"%s\"]%n",
            issuer.url(), Issuer.AUDIENCE, account));
        return new Server(data, List.of(program("BELVEDERE_BIN"), "serve", "--data", data.toString(),
            "--listen-http", "127.0.0.1:0", "--listen-https", "127.0.0.1:0", "--config", config.toString()));
    }

    /** Starts one with simulated hosts, of which there can be more than the machine has room for. */
    static Server simulated() throws IOException, InterruptedException {
        Path data = Files.createTempDirectory("belvedere-test-");
        return new Server(data, List.of(program("BELVEDERE_CONTROL_PLANE"), data.toString()));
    }

    private Server(Path data, List<String> command) throws IOException, InterruptedException {
        this.data = data;
        Path log = data.resolve("log.txt");
        process = new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile()).start();
        Instant deadline = Instant.now().plus(Duration.ofSeconds(30));
        while (!Files.exists(data.resolve("ready.json"))) {
            if (!process.isAlive() || Instant.now().isAfter(deadline)) {
                process.destroyForcibly();
                throw new IllegalStateException("the server did not start:\n" + Files.readString(log));
            }
            Thread.sleep(20);
        }
        account = new ObjectMapper().readTree(data.resolve("account.json").toFile());
    }

    private static String program(String variable) {
        String program = System.getenv(variable);
        if (program == null) {
            throw new IllegalStateException(variable + " must name the program to test");
        }
        return program;
    }

    /** What `keytool -importcert -file ca.pem -keystore trust.p12` makes of the servers' certificate authorities. */
    static Path trustStore(String password, Server... servers) throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        for (Server server : servers) {
            try (InputStream ca = Files.newInputStream(server.data.resolve("tls").resolve("ca.pem"))) {
                Certificate certificate = CertificateFactory.getInstance("X.509").generateCertificate(ca);
                store.setCertificateEntry(server.data.toString(), certificate);
            }
        }
        Path path = servers[0].data.resolve("trust.p12");
        try (OutputStream out = Files.newOutputStream(path)) {
            store.store(out, password.toCharArray());
        }
        return path;
    }

    /** Makes another account. */
    JsonNode createAccount(String name) throws IOException, InterruptedException {
        return createAccount(data, name);
    }

    private static JsonNode createAccount(Path data, String name) throws IOException, InterruptedException {
        Process command = new ProcessBuilder(program("BELVEDERE_BIN"), "account", "--data", data.toString(), "create", name).start();
        JsonNode made = new ObjectMapper().readTree(command.getInputStream());
        if (command.waitFor() != 0) {
            throw new IllegalStateException("`belvedere account create` failed");
        }
        return made;
    }

    @Override
    public void close() throws IOException, InterruptedException {
        process.destroy();
        if (!process.waitFor(15, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException("the server did not end");
        }
        try (var files = Files.walk(data)) {
            for (Path path : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }
}
