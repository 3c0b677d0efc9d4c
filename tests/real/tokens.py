"""Many logins at once, a provider that hangs for one account, and one that has forgotten every token."""
import re, socket, threading

from checks import need
from flows import Flows
from proxy import Proxy, accounts, servers

CROWD = ["crowd%02d" % number for number in range(20)]
# Those whose tokens are renewed without a user: by password, secret, certificate, service account.
ALONE = ["alice", "bob", "frank", "grace"]
AT_ONCE = 50


def run(report, stage, binary):
    ports, parts = servers(stage, ["imap"])
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and says nothing
        sections = accounts(stage, ALONE + CROWD + ["dave", "erin"])
        stuck = dict(accounts(stage, ["erin"])[0][1], permission_url="https://127.0.0.1:%d/device" % mute.getsockname()[1])
        sections = [(heading, stuck if heading.startswith("erin") else options) for heading, options in sections]
        with Proxy(stage, binary, "tokens", parts, sections) as proxy:
            tokens = Tokens(stage, proxy, ports["imap"])
            if not report.check("tokens start", lambda: proxy.start("--local-server-auth").said()[:0]):
                return
            report.check("tokens 50 first logins at once, one request", tokens.one_request)
            report.check("tokens 50 first logins at once, one consent", tokens.one_consent)
            report.check("tokens 20 accounts while the provider hangs for one", tokens.nobody_waits)
            report.check("tokens forgotten by the provider are replaced", tokens.forgotten)
            report.check("tokens graceful end", lambda: need(proxy.end() == 0, "exit code not 0"))


class Tokens(Flows):
    def crowd(self, names, meanwhile=lambda: None):
        """Logs all of them in at once; what went wrong."""
        errors = []

        def client(name):
            try:
                self.login(name, seconds=300)
            except Exception as error:
                errors.append("%s: %s" % (name, error))

        threads = [threading.Thread(target=client, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        meanwhile()
        for thread in threads:
            thread.join(300)
        need(not errors, "%d of %d failed: %s" % (len(errors), len(names), errors[:2]))

    def one_request(self):
        mark = len(self.stage.provider_log())
        self.crowd(["alice"] * AT_ONCE)
        requests = self.stage.token_requests(mark)
        need(requests == ["password"], "requests: %s" % requests)

    def one_consent(self):
        mark, since = len(self.stage.provider_log()), len(self.proxy.said())
        self.crowd(["dave"] * (AT_ONCE - 1), lambda: self.consent("dave", since=since))
        requests = self.stage.token_requests(mark)
        need(requests == ["authorization_code"], "requests: %s" % requests)
        states = set(re.findall(r"[?&]state=([^&\s]+)", self.proxy.said()[since:]))
        need(len(states) == 1, "%d consents were asked for" % len(states))

    def nobody_waits(self):
        ended = threading.Event()

        def hanging():
            try:
                self.login("erin", seconds=300)
            except Exception:
                pass  # the proxy ends, or gives the provider up
            ended.set()

        threading.Thread(target=hanging, daemon=True).start()
        mark = len(self.stage.provider_log())
        self.crowd(CROWD)
        requests = self.stage.token_requests(mark)
        need(requests == ["password"] * len(CROWD), "requests: %s" % requests)
        return "the hanging login %s" % ("had ended by then" if ended.is_set() else "still waited")

    def forgotten(self):
        for name in ALONE:
            self.login(name)
        self.stage.restart_provider()
        mark, since = len(self.stage.provider_log()), len(self.proxy.said())
        for name in ALONE:
            self.login(name)
        requests = self.stage.token_requests(mark)
        need("state=" not in self.proxy.said()[since:], "somebody was asked")
        for name in ALONE:
            self.login(name)
        need(self.stage.token_requests(mark) == requests, "the new tokens do not last")
        return "requests: %s" % requests
