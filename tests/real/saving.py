"""What the proxy writes into a person's configuration file, and what it remembers."""
import os, pathlib, subprocess, time

from checks import Skip, need
from proxy import WRITTEN_LINE, Proxy, accounts, servers
from traffic import imap


def run(report, stage, binary):
    ports, parts = servers(stage, ["imap"])
    text = commented(parts, accounts(stage, ["alice", "bob", "weird"]))
    with Proxy(stage, binary, "saving", parts, [], text=text) as proxy:
        proxy.config.chmod(0o640)
        if not report.check("saving start", lambda: proxy.start().said()[:0]):
            return
        saving = Saving(stage, proxy, ports["imap"], text)
        report.check("saving adds token lines and nothing else", saving.first)
        report.check("saving keeps a person's edit", saving.edited)
        report.check("saving waits while the file is broken", saving.broken)
        report.check("saving was not needed after a restart", saving.restart)
    crlf = text.replace("\n", "\r\n")
    with Proxy(stage, binary, "saving-crlf", parts, [], text="") as proxy:
        proxy.config.write_bytes(b"\xef\xbb\xbf" + crlf.encode())
        report.check("saving keeps CRLF and byte-order mark", carriage_returns, stage, proxy, ports["imap"])
    with Proxy(stage, binary, "saving-store", parts, [], text=text) as proxy:
        report.check("saving into another file", other_file, stage, proxy, ports["imap"], text)


def commented(servers, accounts):
    """A file as people have them: comments everywhere, odd spacing, both delimiters, values over several lines."""
    lines = ["# My mail at home; ask me before you change this!", "; (and a second comment)", "", "[Server setup]",
             "documentation = Everything about servers", "\tgoes here,", "", "\tover several lines = with signs: in it", ""]
    for heading, options in servers:
        lines += ["[%s]" % heading, "# the port is written on the printer, too"]
        lines += ["%s%s%s" % (key.upper() if i % 2 else key, [" = ", ": ", "="][i % 3], value) for i, (key, value) in enumerate(options.items())]
    lines += ["", "#### accounts ####"]
    for heading, options in accounts:
        lines += ["", "[%s]" % heading, "    # indented comment", "; another = one"]
        for i, (key, value) in enumerate(options.items()):
            lines += ["%s%s%s" % (key, ["=", " = ", " : "][i % 3], value)] + (["", "# between"] if i == 2 else [])
        lines += ["# the end of this account", ""]
    return "\n".join(lines + ["[emailproxy]", "", "allow_catch_all_accounts = no", "# the very last line has no line end"])


class Saving:
    def __init__(self, stage, proxy, port, text):
        self.stage, self.proxy, self.port, self.text = stage, proxy, port, text

    def login(self, name):
        imap(self.stage, self.port, name + "@real.test").close()

    def saved(self, *names, path=None, seconds=20):
        """Waits until the accounts have their tokens in the file."""
        end = time.monotonic() + seconds
        while True:
            parser = self.proxy.parsed(path)
            missing = [n for n in names if not parser.has_option(n + "@real.test", "access_token")]
            if not missing:
                return parser
            need(time.monotonic() < end, "no access token saved for %s" % missing)
            time.sleep(0.1)

    def first(self):
        self.login("alice")
        self.login("bob")
        parser = self.saved("alice", "bob")
        for option in ("token_salt", "token_iterations", "access_token", "access_token_expiry", "refresh_token"):
            need(parser.has_option("alice@real.test", option), "%s is not saved" % option)
        self.only_added(self.text)
        mode = self.proxy.config.stat().st_mode & 0o777
        need(mode == 0o640, "the mode was 640 and is %o" % mode)
        strays = sorted(p.name for p in self.proxy.home.iterdir() if p.name not in ("emailproxy.config", "proxy.log", "proxy.out"))
        need(not [s for s in strays if "lock" not in s], "left behind: %s" % strays)
        return "%d lines added" % (self.proxy.config.read_text().count("\n") - self.text.count("\n"))

    def only_added(self, before):
        """`diff` shows added lines only, each of them the proxy's own."""
        old = self.proxy.home / "before"
        old.write_text(before)
        shown = subprocess.run(["diff", old, self.proxy.config], capture_output=True, text=True).stdout.splitlines()
        old.unlink()
        # The last line of the file had no line end; a section that comes after it needs one.
        removed = [line for line in shown if line.startswith("<")]
        added = [line[2:] for line in shown if line.startswith(">") and line[2:].strip()]
        need(not removed, "changed or removed: %s" % removed[:3])
        foreign = [line for line in added if not WRITTEN_LINE.match(line)]
        need(not foreign, "added, but not the proxy's: %s" % foreign[:3])

    def edited(self):
        now = self.proxy.config.read_text()
        edit = now.replace("# My mail at home", "# Our mail at home (edited while it runs)").replace("; another = one", "; another = two", 1)
        need(edit != now, "the test edits nothing")
        self.proxy.config.write_text(edit)
        self.stage.control(access_ttl=2)
        try:
            self.login_odd()
        finally:
            self.stage.control(access_ttl=3600)
        self.saved("alice", "bob", "weird")
        self.only_added(edit)

    def login_odd(self):
        """By AUTHENTICATE PLAIN: this password has letters that LOGIN cannot carry in quotes."""
        import base64
        from traffic import Wire
        user = "weird@real.test"
        wire = Wire(self.port)
        wire.until(r"^\* OK")
        wire.say("a1 AUTHENTICATE PLAIN " + base64.b64encode(("\0%s\0%s" % (user, self.stage.accounts[user])).encode()).decode())
        need(wire.until("^a1 ")[-1].startswith("a1 OK"), "login refused")
        wire.close()

    def broken(self):
        """weird's token has run out: it is renewed while the file cannot be read, and saved once it can."""
        whole = self.proxy.config.read_text()
        before = self.proxy.parsed()["weird@real.test"]["access_token"]
        time.sleep(2.2)
        self.proxy.config.write_text(whole + "\nthis line is neither a comment nor an option\n[unfinished")
        since = len(self.proxy.said())
        self.login_odd()
        need("[unfinished" in self.proxy.config.read_text(), "the broken file was overwritten")
        self.proxy.wait_said("emailproxy.config", since)
        self.proxy.config.write_text(whole)
        end = time.monotonic() + 90
        while self.proxy.parsed()["weird@real.test"]["access_token"] == before:
            need(time.monotonic() < end, "the token was not saved within 90 s after the file was whole again")
            time.sleep(0.2)

    def restart(self):
        need(self.proxy.end() == 0, "exit code %s" % self.proxy.process.returncode)
        mark = len(self.stage.provider_log())
        before = self.proxy.config.read_bytes()
        self.proxy.start()
        seconds = []
        for _ in range(3):
            start = time.monotonic()
            self.login("alice")
            seconds.append(time.monotonic() - start)
        self.login("bob")
        requests = self.stage.token_requests(mark)
        need(not requests, "token requests after the restart: %s" % requests)
        need(self.proxy.end() == 0, "exit code %s" % self.proxy.process.returncode)
        need(self.proxy.config.read_bytes() == before, "the file was written although no token changed")
        return "first login %.3f s, later %.3f s" % (seconds[0], min(seconds[1:]))


def carriage_returns(stage, proxy, port):
    before = proxy.config.read_bytes()
    proxy.start()
    imap(stage, port).close()
    end = time.monotonic() + 20
    while b"access_token" not in proxy.config.read_bytes():
        need(time.monotonic() < end, "no token saved")
        time.sleep(0.1)
    need(proxy.end() == 0, "exit code")
    after = proxy.config.read_bytes()
    need(after.startswith(b"\xef\xbb\xbf# My mail"), "the byte-order mark is gone")
    need(b"\n" not in after.replace(b"\r\n", b""), "bare LF in a file of CRLF")
    kept = [line for line in after.split(b"\r\n") if not WRITTEN_LINE.match(line.decode())]
    need(b"\r\n".join(kept).strip() == before.strip(), "other lines changed")


def other_file(stage, proxy, port, text):
    store = proxy.home / "tokens.config"
    proxy.start("--cache-store", store)
    saving = Saving(stage, proxy, port, text)
    saving.login("alice")
    end = time.monotonic() + 20
    while not store.exists():
        need(time.monotonic() < end, "no file %s" % store.name)
        time.sleep(0.1)
    saving.saved("alice", path=store)
    mode = store.stat().st_mode & 0o777
    need(mode == 0o600, "the new file has mode %o" % mode)
    need(proxy.config.read_text() == text, "the configuration file was written as well")
    need(proxy.end() == 0, "exit code")
    mark = len(stage.provider_log())
    proxy.start("--cache-store", store)
    saving.login("alice")
    need(not stage.token_requests(mark), "token requests after the restart")
    need(proxy.end() == 0, "exit code")
