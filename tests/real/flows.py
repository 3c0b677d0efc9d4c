"""Every way to a token, from a client's login to an opened mailbox, with the browser played by a script."""
import imaplib, re, threading, time

import browser, logs
from checks import Fail, need
from proxy import Proxy, accounts, servers

ACCOUNTS = ["alice", "bob", "mallory", "carol", "dave", "erin", "frank", "grace", "ivan", "judy", "weird"]
LIFETIME = 4  # seconds: of the tokens that are to be refreshed


def run(report, stage, binary):
    ports, parts = servers(stage, ["imap"])
    with Proxy(stage, binary, "flows", parts, accounts(stage, ACCOUNTS)) as proxy:
        flows = Flows(stage, proxy, ports["imap"])
        if not report.check("flow start", lambda: proxy.start("--local-server-auth", "--debug").said()[:0]):
            return
        report.check("flow password", flows.password)
        report.check("flow password cached", flows.cached)
        report.check("flow password of odd characters, no expires_in", lambda: flows.with_answers(flows.odd_password, omit_expires_in=1))
        report.check("flow client credentials, expires_in as text", lambda: flows.with_answers(lambda: flows.login("bob"), string_expires_in=1))
        report.check("flow code with PKCE", lambda: flows.consent("dave"))
        report.check("flow client credentials with a certificate", lambda: flows.login("frank"))
        report.check("flow code with a certificate", lambda: flows.consent("ivan"))
        report.check("flow service account", lambda: flows.login("grace"))
        report.check("flow device code", flows.device)
        report.check("flow two first logins at once", flows.at_once)
        stage.control(access_ttl=LIFETIME)
        report.check("flow code with a secret", lambda: flows.consent("carol"))
        report.check("flow refresh, rotation off", flows.refresh, False)
        report.check("flow refresh, rotation on", flows.refresh, True)
        report.check("flow refresh fails, then works", flows.refresh_fails)
        report.check("flow refused token", flows.refused)
        report.check("flow graceful end", lambda: need(proxy.end() == 0, "exit code not 0"))
        report.check("flow log holds no secret", logs.no_secret, stage, proxy)


class Flows:
    def __init__(self, stage, proxy, port):
        self.stage, self.proxy, self.port = stage, proxy, port

    def login(self, name, password=None, seconds=60):
        user = name + "@real.test"
        start = time.monotonic()
        session = imaplib.IMAP4("127.0.0.1", self.port, timeout=seconds)
        try:
            session.login(user, password or self.stage.accounts[user])
            took = time.monotonic() - start
            count = session.select("INBOX")[1][0].decode()
        except BaseException:
            session.shutdown()
            raise
        session.logout()
        return "%s messages, login %.3f s" % (count, took)

    def refusal(self, name, password=None, seconds=30):
        try:
            self.login(name, password, seconds)
        except imaplib.IMAP4.error as error:
            return str(error)
        raise Fail("the login succeeded")

    def password(self):
        mark = len(self.stage.provider_log())
        note = self.login("alice")
        need(self.stage.token_requests(mark) == ["password"], "requests: %s" % self.stage.token_requests(mark))
        return note

    def cached(self):
        mark = len(self.stage.provider_log())
        notes = [self.login("alice") for _ in range(5)]
        need(self.stage.token_requests(mark) == [], "requests: %s" % self.stage.token_requests(mark))
        return min(notes, key=lambda note: note.rsplit(" ", 2)[1])

    def odd_password(self):
        user = "weird@real.test"
        session = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        session.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (user, self.stage.accounts[user])).encode())
        session.logout()

    def consent(self, name, meanwhile=None, since=None):
        """Logs in, finds the URL in the log (behind its first `since` characters), approves there."""
        base = "https://localhost:%d/auth" % self.stage.port["https"]
        return self.asked(name, r"(?m)^(?=.*?%s).*?(%s\?[^\s\"']*)" % (re.escape(name + "@real.test"), re.escape(base)), meanwhile, since)

    def device(self):
        """The same on the page where a code is typed (RFC 8628)."""
        base = "https://localhost:%d/device" % self.stage.port["https"]
        return self.asked("erin", r"(%s[^\s\"']*)" % re.escape(base))

    def asked(self, name, pattern, meanwhile=None, since=None):
        user = name + "@real.test"
        since, result = len(self.proxy.said()) if since is None else since, {}

        def client():
            try:
                result["note"] = self.login(name)
            except Exception as error:
                result["error"] = error

        thread = threading.Thread(target=client)
        thread.start()
        url = self.proxy.wait_said(pattern, since, 60)[1].rstrip(".,)")
        code = re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", self.proxy.said()[since:])
        if meanwhile:
            meanwhile()
        status, text = browser.approve(url, user, self.stage.accounts[user], self.stage.ca, code and code[0])
        thread.join(60)
        need("note" in result, "client: %s; browser: %s %s" % (result.get("error", "still waiting"), status, text))
        need(status == 200, "the browser ended with %s %s" % (status, text))
        return "%s; browser: %s" % (result["note"], text[:60])

    def at_once(self):
        """While judy thinks about her consent others log in; her tokens are hers all the same."""
        note = self.consent("judy", lambda: (self.login("frank"), self.login("alice")))
        mark = len(self.stage.provider_log())
        self.login("judy", seconds=10)
        need(self.stage.token_requests(mark) == [], "requests: %s" % self.stage.token_requests(mark))
        return note

    def refresh(self, rotate):
        """carol's tokens live for four seconds here and are renewed after two."""
        self.stage.control(rotate=int(rotate))
        mark = len(self.stage.provider_log())
        for _ in range(3):
            time.sleep(LIFETIME / 2 + 0.2)
            self.login("carol")
        requests = self.stage.token_requests(mark)
        need(requests == ["refresh_token"] * 3, "requests: %s" % requests)

    def refresh_fails(self):
        time.sleep(LIFETIME + 0.2)
        self.stage.control(token_fail_count=100, token_fail_status=500, token_fail_body="oops")
        why = self.refusal("carol")
        self.stage.control(token_fail_count=0, access_ttl=3600, rotate=0)
        need("UNAVAILABLE" in why, "a temporary trouble reads as a wrong password: %s" % why)
        end = time.monotonic() + 60  # the proxy may wait a while before it asks again
        while True:
            try:
                return "%s; then %s" % (why, self.login("carol"))
            except imaplib.IMAP4.error as error:
                need(time.monotonic() < end, "a minute later: %s" % error)
                time.sleep(0.5)

    def with_answers(self, login, **how):
        """A login while the provider answers in one of its odd ways."""
        self.stage.control(**how)
        try:
            return login()
        finally:
            self.stage.control(**{name: "false" for name in how})

    def refused(self):
        start = time.monotonic()
        why = self.refusal("mallory", "anything")
        return "%s in %.1f s" % (why, time.monotonic() - start)
