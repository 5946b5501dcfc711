/** Ready-made code for this service and account. */

export type Language = "curl" | "python" | "cli";

/** `origin` is where this page is from. */
export function snippet(language: Language, origin: string, account: string): string {
  switch (language) {
    case "curl":
      return `export URL=${origin} ACCOUNT=${account}
read -rs -p "Account key: " KEY   # accountKey in account.json
TOKEN=$(curl -sf -H "Authorization: Bearer $ACCOUNT:$KEY" "$URL/Accounts/$ACCOUNT/token" | cut -d'"' -f4)

# Start a session for half an hour, then look at it. Only Starting and Ready ones are listed.
curl -sf -X PUT "$URL/accounts/$ACCOUNT/sessions/hello?api-version=2021-01-01" \\
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{"maxLeaseTimeMinutes":30,"size":"Standard"}'
curl -sf "$URL/accounts/$ACCOUNT/sessions?api-version=2021-01-01" -H "Authorization: Bearer $TOKEN"

# Stop it.
curl -sf -X POST "$URL/accounts/$ACCOUNT/sessions/hello/:stop?api-version=2021-01-01" -H "Authorization: Bearer $TOKEN"
`;
    case "python":
      return `# pip install azure-mixedreality-remoterendering==1.0.0b3 six
import json, os, pathlib
from azure.core.credentials import AzureKeyCredential
from azure.mixedreality.remoterendering import RemoteRenderingClient, RenderingSessionSize

data = pathlib.Path(os.environ.get("BELVEDERE_DATA", pathlib.Path.home() / ".local/share/belvedere"))
os.environ["REQUESTS_CA_BUNDLE"] = str(data / "tls/ca.pem")
account = json.loads((data / "account.json").read_text())   # the service's first account

client = RemoteRenderingClient(
    endpoint=account["endpoint"], authentication_endpoint_url=account["endpoint"],
    account_id="${account}", account_domain=account["accountDomain"],
    credential=AzureKeyCredential(account["accountKey"]), polling_interval=1)

session = client.begin_rendering_session("hello", RenderingSessionSize.STANDARD, 30).result()
print(session.status, session.hostname)
client.stop_rendering_session("hello")
`;
    case "cli":
      return `# On the service's machine:
belvedere session create hello --lease 30
belvedere session list
belvedere session extend hello --lease 45
belvedere session stop hello

# Elsewhere, say where and who; the key is asked for nowhere but in the environment:
export BELVEDERE_ENDPOINT=https://${hostOf(origin)}:8443   # as in account.json
export BELVEDERE_CA=ca.pem                  # tls/ca.pem of the service's data folder
export BELVEDERE_ACCOUNT_ID=${account}
read -rs BELVEDERE_ACCOUNT_KEY && export BELVEDERE_ACCOUNT_KEY
belvedere session list
`;
  }
}

function hostOf(origin: string): string {
  const { hostname } = new URL(origin);
  return hostname === "127.0.0.1" ? "localhost" : hostname;
}
