package belvedere;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.math.BigInteger;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Signature;
import java.security.interfaces.RSAPublicKey;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Map;

/** An issuer of tokens as Entra ID is one: a discovery document, a key, and tokens signed with it. */
final class Issuer implements AutoCloseable {
    static final String AUDIENCE = "https://sts.mixedreality.azure.com";
    private static final String KEY_ID = "key";

    private final HttpServer server;
    private final KeyPair keys;

    Issuer() throws IOException, GeneralSecurityException {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        keys = generator.generateKeyPair();
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        RSAPublicKey key = (RSAPublicKey) keys.getPublic();
        serve("/.well-known/openid-configuration", Map.of("issuer", url(), "jwks_uri", url() + "/keys"));
        serve("/keys", Map.of("keys", List.of(Map.of("kty", "RSA", "use", "sig", "kid", KEY_ID,
            "n", number(key.getModulus()), "e", number(key.getPublicExponent())))));
        server.start();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort();
    }

    /** A token for the token service, with these roles. */
    String token(String... roles) {
        long now = Instant.now().getEpochSecond();
        String signed = part(Map.of("alg", "RS256", "typ", "JWT", "kid", KEY_ID)) + "." + part(Map.of(
            "iss", url(), "aud", AUDIENCE, "iat", now, "nbf", now, "exp", now + 3600, "roles", roles));
        try {
            Signature signature = Signature.getInstance("SHA256withRSA");
            signature.initSign(keys.getPrivate());
            signature.update(signed.getBytes(StandardCharsets.US_ASCII));
            return signed + "." + base64(signature.sign());
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private void serve(String path, Object document) {
        byte[] body = json(document);
        server.createContext(path, exchange -> {
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
    }

    private static String part(Object claims) {
        return base64(json(claims));
    }

    private static byte[] json(Object value) {
        try {
            return new ObjectMapper().writeValueAsBytes(value);
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Without the byte that says that it is not negative. */
    private static String number(BigInteger number) {
        byte[] bytes = number.toByteArray();
        int sign = bytes[0] == 0 ? 1 : 0;
        return base64(java.util.Arrays.copyOfRange(bytes, sign, bytes.length));
    }

    private static String base64(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    @Override
    public void close() {
        server.stop(0);
    }
}
