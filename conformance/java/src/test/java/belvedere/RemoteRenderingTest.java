package belvedere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.azure.core.credential.AccessToken;
import com.azure.core.credential.AzureKeyCredential;
import com.azure.core.exception.HttpResponseException;
import com.azure.core.util.polling.AsyncPollResponse;
import com.azure.core.util.polling.LongRunningOperationStatus;
import com.azure.core.util.polling.SyncPoller;
import com.azure.mixedreality.authentication.MixedRealityStsClientBuilder;
import com.azure.mixedreality.remoterendering.RemoteRenderingAsyncClient;
import com.azure.mixedreality.remoterendering.RemoteRenderingClient;
import com.azure.mixedreality.remoterendering.RemoteRenderingClientBuilder;
import com.azure.mixedreality.remoterendering.models.BeginSessionOptions;
import com.azure.mixedreality.remoterendering.models.RenderingSession;
import com.azure.mixedreality.remoterendering.models.RenderingSessionSize;
import com.azure.mixedreality.remoterendering.models.RenderingSessionStatus;
import com.azure.mixedreality.remoterendering.models.UpdateSessionOptions;
import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import reactor.core.publisher.Mono;

/**
 * The SDK as it is: an account key goes to https://sts.(domain), sessions to https://remoterendering.(domain), and one
 * listener is behind both names.
 */
class RemoteRenderingTest {
    private static final Duration POLL = Duration.ofMillis(100);
    private static Server server;
    private static Server large;
    private static Issuer issuer;

    @BeforeAll
    static void start() throws Exception {
        issuer = new Issuer();
        server = Server.start(issuer);
        large = Server.simulated();
        // As on the command line of a JVM; read when the first connection with TLS is made.
        System.setProperty("javax.net.ssl.trustStore", Server.trustStore("changeit", server, large).toString());
        System.setProperty("javax.net.ssl.trustStorePassword", "changeit");
    }

    @AfterAll
    static void stop() throws Exception {
        server.close();
        large.close();
        issuer.close();
    }

    private static String of(Server server, String member) {
        return server.account.get(member).asText();
    }

    private static RemoteRenderingClientBuilder builder(Server server) {
        return new RemoteRenderingClientBuilder()
            .endpoint("https://remoterendering." + of(server, "accountDomain"))
            .accountId(of(server, "accountId"))
            .accountDomain(of(server, "accountDomain"));
    }

    private static RemoteRenderingClientBuilder builder(Server server, String key) {
        return builder(server).credential(new AzureKeyCredential(key));
    }

    private static RemoteRenderingClient client() {
        return builder(server, of(server, "accountKey")).buildClient();
    }

    private static BeginSessionOptions minutes(int minutes) {
        return new BeginSessionOptions()
            .setMaxLeaseTime(Duration.ofMinutes(minutes))
            .setSize(RenderingSessionSize.STANDARD);
    }

    private static UpdateSessionOptions lease(int minutes) {
        return new UpdateSessionOptions().maxLeaseTime(Duration.ofMinutes(minutes));
    }

    private static String name() {
        return "java-" + UUID.randomUUID();
    }

    private static HttpResponseException refused(int status, Runnable action) {
        HttpResponseException refusal = assertThrows(HttpResponseException.class, action::run);
        assertEquals(status, refusal.getResponse().getStatusCode(), refusal.getMessage());
        return refusal;
    }

    @Test
    void createPollListExtendStop() {
        RemoteRenderingClient client = client();
        String name = name();
        SyncPoller<RenderingSession, RenderingSession> poller =
            client.beginSession(name, minutes(5)).setPollInterval(POLL);
        assertEquals(LongRunningOperationStatus.SUCCESSFULLY_COMPLETED,
            poller.waitForCompletion(Duration.ofSeconds(60)).getStatus());
        RenderingSession ready = poller.getFinalResult();
        assertEquals(name, ready.getId());
        assertEquals(RenderingSessionStatus.READY, ready.getStatus());
        assertEquals(RenderingSessionSize.STANDARD, ready.getSize());
        assertNotNull(ready.getHostname());
        for (int port : List.of(ready.getArrInspectorPort(), ready.getHandshakePort())) {
            assertTrue(49_152 <= port && port <= 65_534, "port " + port);
        }
        assertNotEquals(ready.getArrInspectorPort(), ready.getHandshakePort());
        assertTrue(ready.getTeraflops() > 0);
        assertTrue(Duration.between(ready.getCreationTime(), OffsetDateTime.now()).abs().toMinutes() < 1);

        assertTrue(client.listSessions().stream().anyMatch(session -> session.getId().equals(name)));
        assertEquals(Duration.ofMinutes(6), client.updateSession(name, lease(6)).getMaxLeaseTime());
        refused(422, () -> client.updateSession(name, lease(6)));

        client.endSession(name);
        RenderingSession stopped = client.getSession(name);
        assertEquals(RenderingSessionStatus.STOPPED, stopped.getStatus());
        assertEquals(ready.getCreationTime(), stopped.getCreationTime());
        assertFalse(client.listSessions().stream().anyMatch(session -> session.getId().equals(name)));
    }

    @Test
    void theAsynchronousClientDoesTheSame() {
        RemoteRenderingAsyncClient client = builder(server, of(server, "accountKey")).buildAsyncClient();
        String name = name();
        RenderingSession ready = client.beginSession(name, minutes(5)).setPollInterval(POLL)
            .last().flatMap(AsyncPollResponse::getFinalResult).block(Duration.ofSeconds(60));
        assertEquals(RenderingSessionStatus.READY, ready.getStatus());
        assertEquals(Duration.ofMinutes(7), client.updateSession(name, lease(7)).block().getMaxLeaseTime());
        assertEquals(name, client.listSessions().filter(session -> session.getId().equals(name)).blockFirst().getId());
        client.endSession(name).block();
        assertEquals(RenderingSessionStatus.STOPPED, client.getSession(name).block().getStatus());
        refused(404, () -> client.getSession("never-was").block());
    }

    @Test
    void cancellingThePollerStopsTheSession() {
        RemoteRenderingClient client = client();
        String name = name();
        SyncPoller<RenderingSession, RenderingSession> poller =
            client.beginSession(name, minutes(5)).setPollInterval(POLL);
        poller.cancelOperation();
        assertEquals(RenderingSessionStatus.STOPPED, client.getSession(name).getStatus());
        assertEquals(LongRunningOperationStatus.USER_CANCELLED,
            poller.waitForCompletion(Duration.ofSeconds(60)).getStatus());
    }

    /** As with Entra ID: the SDK asks a credential for a token, and exchanges it. */
    @Test
    void tokensOfAnIssuerAreExchanged() {
        List<String> scopes = new CopyOnWriteArrayList<>();
        RemoteRenderingClient client = builder(server).credential(request -> {
            scopes.addAll(request.getScopes());
            return Mono.just(new AccessToken(issuer.token("Remote Rendering Client"), inAnHour()));
        }).buildClient();
        assertNotNull(client.listSessions().stream().toList());
        refused(404, () -> client.getSession("never-was"));
        assertEquals(List.of("https://sts." + of(server, "accountDomain") + "/.default"), scopes, "asked once");
        refused(403, () -> client.listConversions().stream().toList());

        RemoteRenderingClient nobody = builder(server)
            .credential(request -> Mono.just(new AccessToken(issuer.token(), inAnHour()))).buildClient();
        refused(403, () -> nobody.getSession("x"));
        String untrusted = issuer.token("Administrator").replaceFirst("[^.]+$", "AAAA");
        RemoteRenderingClient forger = builder(server)
            .credential(request -> Mono.just(new AccessToken(untrusted, inAnHour()))).buildClient();
        refused(401, () -> forger.getSession("x"));
    }

    private static OffsetDateTime inAnHour() {
        return OffsetDateTime.now().plusHours(1);
    }

    @Test
    void listsGoOverPages() {
        RemoteRenderingClientBuilder builder = builder(large, of(large, "accountKey"));
        RemoteRenderingAsyncClient client = builder.buildAsyncClient();
        List<String> names = IntStream.range(0, 101).mapToObj(n -> String.format("page-%03d", n)).toList();
        for (String name : names) {
            client.beginSession(name, minutes(5)).setPollInterval(POLL).blockFirst();
        }
        assertEquals(names, builder.buildClient().listSessions().stream().map(RenderingSession::getId).toList());
        List<Integer> sizes = client.listSessions().byPage().map(page -> page.getValue().size()).collectList().block();
        assertEquals(List.of(100, 1), sizes);
    }

    @Test
    void errorsNameWhatIsWrong() {
        RemoteRenderingClient client = client();
        String negative = refused(400, () -> client.beginSession(name(), minutes(-4))).getMessage().toLowerCase();
        assertTrue(negative.contains("lease") && negative.contains("negative"), negative);
        refused(404, () -> client.getSession("never-was"));
        refused(404, () -> client.updateSession("never-was", lease(9)));
        refused(404, () -> client.endSession("never-was"));
        String name = name();
        client.beginSession(name, minutes(5)).poll();
        assertTrue(refused(409, () -> client.beginSession(name, minutes(7))).getMessage().contains("Conflict"));
        client.endSession(name);
    }

    @Test
    void keysAndTokens() throws Exception {
        RemoteRenderingClient second = builder(server, of(server, "secondaryKey")).buildClient();
        assertNotNull(second.listSessions().stream().toList());
        RemoteRenderingClient wrong = builder(server, "A".repeat(43) + "=").buildClient();
        refused(401, () -> wrong.getSession("x"));

        JsonNode other = server.createAccount("other");
        AccessToken token = new MixedRealityStsClientBuilder()
            .accountId(other.get("accountId").asText())
            .accountDomain(of(server, "accountDomain"))
            .credential(new AzureKeyCredential(other.get("accountKey").asText()))
            .buildClient().getToken();
        assertTrue(Duration.between(OffsetDateTime.now(), token.getExpiresAt()).toHours() >= 23);
        RemoteRenderingClient stranger = builder(server).accessToken(token).buildClient();
        assertTrue(refused(403, () -> stranger.getSession("x")).getMessage().contains("Forbidden"));
    }
}
