"""What the log at --debug contains, and what it never contains."""
import base64, imaplib, re, threading, time, urllib.parse

import browser
from checks import need
from proxy import Proxy, accounts, servers
from traffic import USER, Wire

# Values of these names at the provider are secret, whichever way they travelled.
SECRET = "access_token refresh_token id_token code code_verifier password client_secret client_assertion assertion device_code".split()


def run(report, stage, binary):
    ports, parts = servers(stage)
    with Proxy(stage, binary, "logs", parts, accounts(stage, ["alice", "bob", "carol", "mallory"])) as proxy:
        if not report.check("log start", lambda: proxy.start("--debug", "--local-server-auth").said()[:0]):
            return
        logs = Logs(stage, proxy, ports)
        report.check("log holds the IMAP dialogue", logs.imap)
        report.check("log holds the POP dialogue", logs.pop)
        report.check("log holds the SMTP dialogue", logs.smtp, "smtp")
        report.check("log holds the SMTP dialogue, STARTTLS", logs.smtp, "smtp_starttls")
        report.check("log after failures, consents, refreshes", logs.other_ways)
        proxy.end()
        report.check("log holds no secret", no_secret, stage, proxy, logs.extra)


class Logs:
    def __init__(self, stage, proxy, ports):
        self.stage, self.proxy, self.ports = stage, proxy, ports
        self.password = stage.accounts[USER]
        self.extra = []

    def expect(self, since, *lines):
        """Each line stands in the log, in this order, whatever quotes surround it."""
        end = time.monotonic() + 10
        strip = lambda text: re.sub(r'[\\"]', "", text)
        while True:
            said, position, missing = strip(self.proxy.said()[since:]), 0, None
            for line in lines:
                found = said.find(strip(line), position)
                if found < 0:
                    missing = line
                    break
                position = found + len(strip(line))
            if missing is None:
                return "%d lines" % len(lines)
            need(time.monotonic() < end, "not in the log (or not in this order): %r" % missing)
            time.sleep(0.1)

    def imap(self):
        since = len(self.proxy.said())
        wire = Wire(self.ports["imap"])
        greeting = wire.line()
        wire.say("q0 NOOP")
        wire.until("^q0 ")
        wire.say('q1 ID ("name" "checker" "version" "7")')
        identity = wire.until("^q1 ")
        wire.say("q2 CAPABILITY")
        offer = wire.until("^q2 ")
        wire.say("q3 SELECT INBOX")
        refused = wire.until("^q3 ")[-1]
        wire.say("q4 LOGIN %s {%d}" % (USER, len(self.password)))
        wire.until(r"^\+")
        wire.say(self.password)
        wire.until("^q4 OK")
        wire.say("q5 SEARCH SUBJECT afterlogin")
        wire.until("^q5 ")
        wire.close()
        note = self.expect(since, greeting, "q0 NOOP", "q1 ID (name checker version 7)", identity[-1], "q2 CAPABILITY", offer[0], "q3 SELECT", refused,
                           "q4 LOGIN", "AUTHENTICATE XOAUTH2", "OK")
        need("afterlogin" not in self.proxy.said(), "content after the login is in the log")
        return note

    def pop(self):
        since = len(self.proxy.said())
        wire = Wire(self.ports["pop"])
        greeting = wire.line()
        wire.say("CAPA")
        offer = wire.until(r"^\.$")
        wire.say("USER " + USER)
        wire.until(r"^\+OK")
        wire.say("PASS " + self.password)
        wire.until(r"^\+OK")
        wire.say("UIDL 3")
        wire.line()
        wire.close()
        note = self.expect(since, greeting, "CAPA", offer[1], "USER", "PASS", "AUTH XOAUTH2")
        need("UIDL 3" not in self.proxy.said()[since:], "content after the login is in the log")
        return note

    def smtp(self, name):
        since = len(self.proxy.said())
        wire = Wire(self.ports[name])
        greeting = wire.line()
        wire.say("EHLO checker.example")
        offer = wire.until("^250 ")
        wire.say("AUTH LOGIN")
        need(wire.line() == "334 VXNlcm5hbWU6", "the first challenge")
        wire.say(base64.b64encode(USER.encode()).decode())
        need(wire.line() == "334 UGFzc3dvcmQ6", "the second challenge")
        wire.say(base64.b64encode(self.password.encode()).decode())
        wire.until("^235 ")
        wire.say("RSET")
        wire.line()
        wire.say("VRFY afterlogin")
        wire.line()
        wire.close()
        lines = [greeting, "EHLO checker.example"] + (["STARTTLS"] if name.endswith("starttls") else [])
        note = self.expect(since, *lines, offer[-1], "AUTH LOGIN", "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "AUTH XOAUTH2", "235")
        need("afterlogin" not in self.proxy.said()[since:], "content after the login is in the log")
        return note

    def other_ways(self):
        """Fills the log: wrong passwords, a refused token, a provider's error, a consent, a refresh."""
        for password in ("wrong-9f31c2a7", 'wrong-"\\7bd0e1f4'):
            self.extra.append(password)
            self.login(USER, password)
        self.extra.append("anything-55aa01")
        self.login("mallory@real.test", "anything-55aa01")
        wire = Wire(self.ports["smtp"])
        wire.until("^220 ")
        wire.say("EHLO x")
        wire.until("^250 ")
        self.extra.append("oneline-77f0c3d2")
        wire.say("AUTH PLAIN " + base64.b64encode(b"\0" + USER.encode() + b"\0oneline-77f0c3d2").decode())
        wire.line()
        self.extra.append("notbase64-18cc24")
        wire.say("AUTH LOGIN notbase64-18cc24!")
        wire.line()
        wire.close()
        wire = Wire(self.ports["imap"])
        wire.line()
        for number, command in enumerate(('LOGIN alice "half-4412bd', "LOGIN a b three-66b2e0", "XLOGIN alice other-31ab77", "authenticate plain bad-90bb12"), 1):
            self.extra.append(command.split()[-1].strip('"') if number != 2 else "three-66b2e0")
            wire.say("w%d %s" % (number, command))
            wire.line()
        wire.close()
        self.stage.control(access_ttl=2)
        since = len(self.proxy.said())
        thread = threading.Thread(target=self.login, args=("carol@real.test", self.stage.accounts["carol@real.test"]))
        thread.start()
        url = self.proxy.wait_said(r"https://localhost:%d/auth\?[^\s\"']*" % self.stage.port["https"], since)[0]
        browser.approve(url, "carol@real.test", self.stage.accounts["carol@real.test"], self.stage.ca)
        thread.join(60)
        time.sleep(2.2)
        self.login("carol@real.test", self.stage.accounts["carol@real.test"])
        self.stage.control(access_ttl=3600)
        self.login("bob@real.test", self.stage.accounts["bob@real.test"])

    def login(self, user, password):
        session = imaplib.IMAP4("127.0.0.1", self.ports["imap"], timeout=60)
        try:
            session.login(user, password)
        except imaplib.IMAP4.error:
            pass
        finally:
            session.shutdown()


def no_secret(stage, proxy, more=()):
    """Nothing that the provider was given or gave, no password and no client secret stands in what the proxy said."""
    known = dict.fromkeys(more, "a wrong password")
    known.update({value: "the password of " + name for name, value in stage.accounts.items()})
    known.update({value: "the secret of " + name for name, value in stage.secrets.items()})
    for entry in stage.provider_log():
        for source in (entry.get("params") or {}, entry.get("body") or {}):
            known.update({source[name]: name for name in SECRET if isinstance(source.get(name), str) and source[name]})
    said = proxy.said()
    need(len(said) > 2000, "the log is suspiciously short")
    for value, what in known.items():
        for form in forms(value):
            need(form not in said, "%s is in the log, as %r" % (what, form[:6] + "…"))
    return "%d values looked for in %d KiB" % (len(known), len(said) // 1024)


def forms(value):
    """A secret as it might have been printed: as it is, escaped, percent-encoded, and in base64 wherever it began."""
    raw = value.encode()
    yield value
    yield value.replace("\\", "\\\\").replace('"', '\\"')
    yield urllib.parse.quote(value, safe="")
    yield urllib.parse.quote_plus(value)
    yield raw.hex()
    for offset in range(3):
        # The characters that do not depend on what stands before and behind.
        text = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        inner = text[(0, 2, 3)[offset]:len(text) - (1 if (len(raw) + offset) % 3 else 0)]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
    yield ", ".join(str(byte) for byte in raw)  # a slice of bytes as Rust prints it
