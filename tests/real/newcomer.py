"""A new user's five minutes, as the README tells them: `add`, `check --connect`, the proxy at a terminal, the approval in each of its four
ways, mail read by a mail program. The browser is a real one, and so is the terminal."""
import fcntl, os, pathlib, pty, re, select, signal, struct, subprocess, termios, threading, time

from checks import Fail, need
from chromium import Chromium
from clients import Clients
from console import Visit
from stage import free_ports, listening


def run(report, stage, binary):
    if not report.check("newcomer browser starts", starts):
        return
    with Chromium() as browser:
        for title, way in (("the browser opens", by_browser), ("paste at the terminal", by_paste), ("device code", by_device), ("web console", by_console)):
            report.check("newcomer " + title, way, stage, binary, browser)
    report.check("newcomer, address only", asked, stage, binary)


def starts():
    with Chromium() as browser:
        return browser.call("Browser.getVersion")["product"]


class Newcomer:
    """Somebody with an empty folder, an address, and the client that the provider has registered for them."""

    def __init__(self, stage, binary, name, redirect=None, device=False):
        self.stage, self.binary, self.name = stage, binary, name
        self.user = name + "@real.test"
        self.home = stage.dir / ("newcomer-" + name)
        self.home.mkdir()
        self.config = self.home / "emailproxy.config"
        self.imap, self.smtp = free_ports(2)
        self.redirect, self.device = redirect, device

    def said(self, *arguments, data=""):
        """What a command says; it has to work, and to complain of nothing."""
        done = subprocess.run([str(self.binary), *arguments], cwd=self.home, env=self.stage.environment(), input=data, capture_output=True,
                              text=True, timeout=60)
        need(done.returncode == 0 and not done.stderr, "%s: code %d: %s" % (arguments[0], done.returncode, done.stdout + done.stderr))
        return done.stdout

    def add(self, client, secret=None):
        """`add` with flags; what it prints are the settings that the mail programs below use."""
        port, url = self.stage.port, self.stage.url
        flags = ["--client-id", client, "--imap-server", "localhost:%d" % port["imaps"], "--smtp-server", "localhost:%d" % port["submissions"],
                 "--imap-port", str(self.imap), "--smtp-port", str(self.smtp), "--token-url", url("/token"), "--scope", "mail offline_access"]
        flags += ["--device", "--permission-url", url("/device/auth")] if self.device else [
            "--permission-url", url("/auth"), "--redirect-uri", "http://localhost:%d" % self.redirect]
        flags += ["--client-secret-stdin"] if secret else []
        told = self.said("add", self.user, *flags, data=secret + "\n" if secret else "")
        for line in ("IMAP (incoming): host 127.0.0.1, port %d, connection security none" % self.imap,
                     "SMTP (outgoing): host 127.0.0.1, port %d" % self.smtp, "user name: " + self.user, "emailproxy check --connect"):
            need(line in told, "`add` does not say %r: %s" % (line, told))
        need(not secret or secret not in told, "`add` prints the secret")
        return self

    def check(self):
        """Nothing is to be said against what `add` has written, and everything answers."""
        told = self.said("check", "--connect")
        need("2 servers, 1 account, 0 errors, 0 warnings, 4 of 4 connections in order" in told, told)
        need("note:" not in told and told.count("mechanisms: XOAUTH2") == 2, told)
        need("it says: * OK Dovecot" in told and "invalid_request: nothing was asked for" in told, told)
        return self

    def serve(self, *options, **environment):
        screen = Screen([self.binary, *options], self.home, self.stage.environment(**environment))
        end = time.monotonic() + 20
        while not (listening(self.imap) and listening(self.smtp)):
            need(time.monotonic() < end, "not serving: " + screen.text())
            time.sleep(0.05)
        return screen

    def client(self, way):
        """A mail program that looks for mail, in the background; waits for it and for its note."""
        found = []

        def look():
            try:
                found.append(getattr(Clients(self.stage, self.user, self.imap, smtp=self.smtp), way)() or "mail read by " + way.split("_", 1)[1])
            except Exception as error:
                found.append(error)

        thread = threading.Thread(target=look)
        thread.start()

        def result():
            thread.join(60)
            need(found, "the mail program still waits")
            if isinstance(found[0], Exception):
                raise found[0]
            return found[0]

        return result

    def approve(self, browser, url, code=None):
        """A person goes there in the browser; the tab, and the address of the last page."""
        tab = browser.open()
        tab.forget("localhost")
        tab.call("Page.navigate", url=url)
        return tab, Visit(self.stage, self, browser, self.imap, 0, None).approve(tab, self.name, code)

    def picture(self, page, name):
        """Kept where the stage's folder is."""
        if self.stage.keep:
            page.view(1100, 700)
            page.picture(self.home / (name + ".png"))

    def authorised(self):
        told = self.said("accounts")
        need(re.search(re.escape(self.user) + r" +authorised", told), told)


class Screen:
    """A program on a terminal of its own."""

    def __init__(self, command, folder, environment):
        self.shown = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.chdir(folder)
                os.execvpe(str(command[0]), [str(part) for part in command], dict(environment, TERM="xterm"))
            finally:
                os._exit(127)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 120, 0, 0))
        self.code = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def read(self, seconds):
        """Takes what has come; False at the end."""
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # the program has ended
                data = b""
            self.shown += data
            return bool(data)
        return True

    def text(self):
        while select.select([self.terminal], [], [], 0)[0] and self.read(0):
            pass
        return self.shown.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait(self, pattern, seconds=30):
        """The match, once the screen shows it."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text())
            if found:
                return found
            alive = self.read(0.2)
            need(alive and time.monotonic() < end, "nothing like %r on the screen: %s" % (pattern, self.text()[-1500:]))

    def enter(self, text):
        os.write(self.terminal, (text + "\r").encode())

    def enter_unseen(self, text):
        """Types a secret, once the terminal shows nothing of what is typed (which comes behind the question)."""
        end = time.monotonic() + 20
        while termios.tcgetattr(self.terminal)[3] & termios.ECHO:
            need(time.monotonic() < end, "what is typed would be seen: " + self.text()[-300:])
            time.sleep(0.01)
        self.enter(text)

    def end(self, sign=None):
        """Its exit code; `sign` is a signal that ends it."""
        if sign:
            os.kill(self.pid, sign)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                return self.code
        raise Fail("still running: " + self.text()[-500:])


def counts_down(screen):
    """The time that is left is shown, and becomes less."""
    first = screen.wait(r"waiting for the sign-in: (\d+:\d\d) left")[1]
    screen.wait(r"waiting for the sign-in: (?!%s)\d+:\d\d left" % first)


def ends(screen):
    code = screen.end(signal.SIGINT)
    need(code == 0, "exit code %s: %s" % (code, screen.text()[-500:]))


def by_browser(stage, binary, browser):
    """The desktop's browser comes up by itself, and brings the answer to the proxy."""
    new = Newcomer(stage, binary, "dave", stage.redirects[1]).add("code-public").check()
    desktop, opened = new.home / "bin", new.home / "opened"
    desktop.mkdir()
    (desktop / "xdg-open").write_text('#!/bin/sh\nprintf %%s "$1" > "%s.part" && mv "%s.part" "%s"\n' % (opened, opened, opened))
    (desktop / "xdg-open").chmod(0o755)
    with new.serve(DISPLAY=":0", PATH="%s:%s" % (desktop, os.environ["PATH"])) as screen:
        mail = new.client("imap_mutt")
        end = time.monotonic() + 30
        while not opened.exists():
            need(time.monotonic() < end, "no browser was opened: " + screen.text())
            time.sleep(0.05)
        counts_down(screen)
        tab, _ = new.approve(browser, opened.read_text())
        tab.wait_text("Signed in")
        new.picture(tab, "signed-in")
        note = mail()
        new.authorised()
        need("is in use" not in new.said("check"), "`check` takes the running proxy for another program")
        ends(screen)
    return note


def by_paste(stage, binary, browser):
    """The browser is elsewhere: its last page does not load, and its address is pasted at the terminal."""
    new = Newcomer(stage, binary, "carol", stage.redirects[0]).add("code-secret", stage.secrets["code-secret"]).check()
    with new.serve("--external-auth") as screen:
        mail = new.client("imap_mbsync")
        url = screen.wait(r"\n    (https://\S+)")[1]
        screen.wait(r"10 minutes left for the sign-in; paste the address here> ")
        _, final = new.approve(browser, url)
        screen.enter(final.replace("code=", "cod="))
        screen.wait("neither a code nor an error")
        screen.enter(final)
        screen.wait("carol@real.test is signed in")
        note = mail()
        new.authorised()
        ends(screen)
    return note


def by_device(stage, binary, browser):
    """Beforehand, with a code that is typed on another device; then the mail is there at once."""
    new = Newcomer(stage, binary, "erin", device=True).add("device").check()
    password = stage.accounts[new.user]
    with Screen([binary, "authorise", new.user], new.home, stage.environment()) as screen:
        screen.wait("A password for erin@real.test")
        screen.enter_unseen(password)
        screen.wait("The same again")
        screen.enter_unseen(password)
        code = screen.wait(r"\b[A-Z]{4}-[A-Z]{4}\b")[0]
        need("█" in screen.wait(r"(?s)or open\n\n.*left")[0], "no QR code: " + screen.text())
        counts_down(screen)
        new.approve(browser, screen.wait(r"\n    (https://\S+/device)\n")[1], code)
        screen.wait("erin@real.test is authorised until")
        need(screen.end() == 0, screen.text())
        need(password not in screen.text(), "the password is on the screen")
    new.authorised()
    with new.serve() as screen:
        note = new.client("imap_curl_initial_response")()
        need("needs your permission" not in screen.text(), "asked again: " + screen.text())
        ends(screen)
    return note


def by_console(stage, binary, browser):
    """By the button of the page whose link the terminal shows; then a message is sent."""
    new = Newcomer(stage, binary, "judy", stage.redirects[3]).add("code-secret", stage.secrets["code-secret"]).check()
    port = free_ports(1)[0]
    with new.serve("--console", "127.0.0.1:%d" % port) as screen:
        visit = Visit(stage, new, browser, new.imap, port, None)
        visit.token = screen.wait(r"The console: http://127\.0\.0\.1:%d/\?token=([\w-]+)" % port)[1]
        page = browser.open(visit.url + "?token=" + visit.token)
        page.wait_text("Recent events")
        mail = new.client("imap_mutt")
        card = visit.card(page, "judy")
        new.picture(page, "asked")
        left = "document.querySelector('time[data-left]').innerText"
        page.wait_for("%s !== %r" % (left, page.evaluate(left)), "countdown")
        tab, _ = visit.approval(page, card, "judy")
        tab.wait_text("Signed in")
        page.to_front()
        page.wait_for(visit.state("judy") + ".includes('Authorised')", "authorised account")
        new.picture(page, "authorised")
        note = "%s; sent: %s" % (mail(), new.client("smtp_msmtp_plain")())
        ends(screen)
    return note


def asked(stage, binary):
    """`add` at a terminal, where the provider is known from nothing: it asks for what it needs."""
    home = stage.dir / "newcomer-asked"
    home.mkdir()
    with Screen([binary, "add"], home, stage.environment()) as screen:
        for question, answer in (
                ("Mail address: ", "ivan@real.test"), (r"Look its servers up .*\[Y/n\]: ", "n"),
                (r"IMAP server and port.*: ", "nonsense"), (r"nonsense: write a host name and a port(?s:.*)IMAP server and port.*: ", "localhost:%d" % stage.port["imaps"]),
                (r"SMTP server and port.*: ", ""), ("authorization_endpoint.*: ", stage.url("/auth")), ("token_endpoint.*: ", "x"),
                (r"no URL(?s:.*)token_endpoint.*: ", stage.url("/token")), ("scope for mail.*: ", "mail"), ("Client id: ", "code-secret"),
                ("Client secret .*: ", stage.secrets["code-secret"]), (r"Write it\? \[Y/n\]: ", "y")):
            screen.wait("(?:%s)$" % question)
            (screen.enter_unseen if "secret" in question else screen.enter)(answer)
        screen.wait("ivan@real.test is set up in emailproxy.config")
        need(screen.end() == 0, screen.text())
        need(stage.secrets["code-secret"] not in screen.text(), "the secret is on the screen")
    text = pathlib.Path(home / "emailproxy.config").read_text()
    for line in ("[IMAP-", "server_port = %d" % stage.port["imaps"], "[ivan@real.test]", "permission_url = " + stage.url("/auth"),
                 "client_secret = " + stage.secrets["code-secret"]):
        need(line in text, "no %r in %s" % (line, text))
    need("[SMTP-" not in text, text)
