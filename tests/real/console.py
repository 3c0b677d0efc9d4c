"""The web console in a real browser: somebody opens the printed link, a mail program logs in, the approval is given by button, by
paste and by code, with JavaScript and without it."""
import imaplib, pathlib, re, subprocess, tempfile, threading, urllib.error, urllib.request

import logs
from checks import Fail, need
from chromium import Chromium
from proxy import Proxy, accounts, servers
from stage import free_ports

# The button of the provider's forms that goes on; it may stand outside of its form.
SUBMIT = "button[type=submit], input[type=submit], form button"
ACCOUNTS = ["alice", "carol", "dave", "ivan", "judy", "erin"]


def run(report, stage, binary):
    pictures = pathlib.Path(tempfile.mkdtemp(prefix="emailproxy-console-")) if stage.keep else None
    if not report.check("console browser starts", starts):
        return
    for way, checks in (("--external-auth", PASTED), ("--local-server-auth", RECEIVED)):
        ports, parts = servers(stage, ["imap"])
        port = free_ports(1)[0]
        options = dict(console_address="127.0.0.1:%d" % port)
        with Proxy(stage, binary, "console" + way[1:], parts, accounts(stage, ACCOUNTS), options) as proxy, Chromium() as browser:
            proxy.ports.append(port)
            visit = Visit(stage, proxy, browser, ports["imap"], port, pictures)
            if not report.check("console start, %s" % way, lambda: proxy.start(way).said()[:0]):
                return
            for name, check in checks:
                report.check("console " + name, check, visit)
            report.check("console log holds no secret, %s" % way, lambda: no_secret(stage, proxy, visit))
    if pictures:
        print("pictures kept in %s" % pictures)


def starts():
    with Chromium() as browser:
        return browser.call("Browser.getVersion")["product"]


class Visit:
    """Somebody at the console, and a mail program beside."""

    def __init__(self, stage, proxy, browser, imap, port, pictures):
        self.stage, self.proxy, self.browser, self.imap, self.pictures = stage, proxy, browser, imap, pictures
        self.url = "http://127.0.0.1:%d/" % port
        self.token = None

    def link(self):
        """What `emailproxy console` prints."""
        command = [self.proxy.binary, "--config-file", self.proxy.config, "console"]
        done = subprocess.run([str(a) for a in command], capture_output=True, text=True, timeout=20)
        need(done.returncode == 0 and not done.stderr, "code %d: %s" % (done.returncode, done.stderr))
        self.token = done.stdout.strip().partition("?token=")[2]
        return done.stdout.strip()

    def enter(self, scripts=True):
        page = self.browser.open(self.link(), scripts)
        page.wait_text("Recent events")
        need(page.url() == self.url, "the address bar has " + page.url())
        page.view(1100, 900)
        return page

    def login(self, name):
        """A mail program that logs in; ends when its user has approved."""
        user, login = name + "@real.test", Login()
        def client():
            try:
                session = imaplib.IMAP4("127.0.0.1", self.imap, timeout=90)
                session.login(user, self.stage.accounts[user])
                login.note = session.select("INBOX")[1][0].decode() + " messages"
                login.session = session
            except Exception as error:
                login.error = error
        login.thread = threading.Thread(target=client)
        login.thread.start()
        return login

    def approve(self, tab, name, code=None):
        """Goes through the provider's pages; the address of the last one."""
        user = name + "@real.test"
        there = "location.port === '%d'" % self.stage.port["https"]
        loaded = "document.readyState === 'complete'"
        field = lambda name: "document.querySelector('input[name=%s]:not([type=hidden])')" % name
        tab.wait_for("%s && %s" % (there, loaded), "page of the provider")
        for _ in range(8):
            # A page that is still loading has no form yet, and is not the last one for that.
            tab.wait_for("!(%s) || (%s && (document.querySelector('%s') || document.body.innerText.includes('Success')))"
                         % (there, loaded, SUBMIT), "form")
            if not tab.evaluate("Boolean(%s && document.querySelector('%s'))" % (there, SUBMIT)):
                break
            if tab.evaluate("Boolean(%s)" % field("login")):
                tab.type("input[name=login]", user)
                tab.type("input[name=password]", self.stage.accounts[user])
            elif code and tab.evaluate("Boolean(%s)" % field("user_code")):
                tab.type("input[name=user_code]", code)
            tab.evaluate("window.emailproxySeen = true")
            tab.click(SUBMIT)
            tab.wait_for("!window.emailproxySeen", "answer to the form at " + tab.url())
        return tab.url()

    def approval(self, page, card, name, code=None):
        """Opens the provider's page by its button and approves there, as somebody who has just come; where that ended."""
        page.forget("localhost")
        tab = self.browser.opened_by(lambda: page.click(card + "a.button"))
        final = self.approve(tab, name, code)
        return tab, final

    def picture(self, page, name):
        """Pictures of the page in light and dark, on a desk and in a hand."""
        if self.pictures:
            for dark in (False, True):
                for width, phone in ((1100, False), (390, True)):
                    page.view(width, 900, dark, phone)
                    page.picture(self.pictures / ("%s-%s-%s.png" % (name, "dark" if dark else "light", "phone" if phone else "desk")))
            page.view(1100, 900)

    def card(self, page, name):
        """The consent of this account, once it is there: a selector."""
        page.wait_text(name + "@real.test needs your permission", 40)
        found = page.evaluate("[...document.querySelectorAll('.asking')].find(e => e.innerText.includes('%s@real.test needs')).id" % name)
        return "#" + found + " "

    def state(self, name):
        """What the page says of the account."""
        return ("[...document.querySelectorAll('#accounts li')].find(e => e.innerText.includes('%s@real.test')).innerText" % name)


class Login:
    note = error = session = None

    def done(self):
        self.thread.join(60)
        need(self.note, "client: %s" % (self.error or "still waiting"))
        if self.session:
            self.session.logout()
        return self.note


def link(visit):
    link = visit.link()
    need(re.fullmatch(re.escape(visit.url) + r"\?token=[\w-]{43}", link), "it printed " + link)
    page = visit.enter()
    for text in ("Accounts", "carol@real.test", "Not authorised yet", "Servers", "IMAP-%d" % visit.imap, "Serving for"):
        need(text in page.text(), "no %r in %s" % (text, page.text()))
    need(not page.complaints(), "complaints: %s" % page.complaints())
    visit.picture(page, "first")


def shut(visit):
    """A browser that has no cookie, and programs without the token."""
    page = visit.browser.open(visit.url + "?token=wrong")
    page.wait_text("That token is not the right one")
    visit.picture(page, "sign-in")
    page.type("#token", visit.token)
    page.click("form button")
    page.wait_text("Recent events")
    page.click("footer form[action='/sign-out'] button")
    page.wait_text("Sign in to the console")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path, host, expected in (("", None, 401), ("metrics", None, 401), ("state.json", None, 401), ("", "evil.example", 421),
                                 ("healthz", None, 200)):
        request = urllib.request.Request(visit.url + path, headers={"Host": host} if host else {})
        try:
            status = opener.open(request, timeout=20).status
        except urllib.error.HTTPError as error:
            status = error.code
        need(status == expected, "/%s: %d" % (path, status))


def by_paste(visit):
    """Nothing listens on the redirect URI: the browser's last page does not load, and its address is pasted."""
    page = visit.enter()
    login = visit.login("carol")
    card = visit.card(page, "carol")  # the script shows it without a reload
    visit.picture(page, "browser")
    page.click(card + "summary")
    page.wait_for("document.querySelector('%simg').naturalWidth > 0" % card, "QR code")
    visit.picture(page, "browser-qr")
    _, final = visit.approval(page, card, "carol")
    need("code=" in final, "the browser ended at " + final)
    page.to_front()
    page.type(card + "input[name=address]", final.replace("code=", "cod="))
    page.click(card + ".paste button")
    page.wait_text("neither a code nor an error")
    visit.picture(page, "refused")
    page.type(card + "input[name=address]", final)
    page.evaluate("window.emailproxySame = true")
    page.wait_for("document.querySelector('time[data-left]').innerText !== '%s'" % page.evaluate("document.querySelector('time[data-left]').innerText"),
                  "countdown")
    need(page.evaluate("window.emailproxySame && document.querySelector('input[name=address]').value") == final, "what was typed is gone")
    page.click(card + ".paste button")
    page.wait_text("carol@real.test is signed in.")
    page.wait_for(visit.state("carol") + ".includes('Authorised')", "authorised account")
    page.wait_for(visit.state("carol") + ".includes('1 session')", "session of the account")
    page.click("#servers summary")
    visit.picture(page, "signed-in")
    need(not page.complaints(), "complaints: %s" % page.complaints())
    return login.done()


def without_javascript(visit):
    page = visit.enter(scripts=False)
    need(page.evaluate("document.querySelector('noscript meta') !== null"), "no refresh")
    login = visit.login("dave")
    card = visit.card(page, "dave")  # the page has loaded itself again
    need(not page.evaluate("document.querySelector('noscript meta') !== null"), "it loads itself again while somebody types")
    visit.picture(page, "no-script")
    _, final = visit.approval(page, card, "dave")
    page.to_front()
    page.type(card + "input[name=address]", final)
    page.click(card + ".paste button")
    page.wait_text("dave@real.test is signed in.")
    page.wait_for(visit.state("dave") + ".includes('Authorised')", "authorised account")
    return login.done()


def dismissed(visit):
    page = visit.enter()
    login = visit.login("judy")
    page.click(visit.card(page, "judy") + ".dismiss button")
    page.wait_text("that login is refused")
    login.thread.join(30)
    need(isinstance(login.error, imaplib.IMAP4.error), "the client was told %s" % (login.error or login.note))
    return str(login.error)[:100]


def debug(visit):
    page = visit.enter()
    page.click("#level button")
    page.wait_text("Debug logging is on")
    mark = len(visit.proxy.said())
    visit.login("alice").done()
    visit.proxy.wait_said("DEBUG", mark)
    page.click("#level button")
    page.wait_text("Debug logging is off")


def by_button(visit):
    page = visit.enter()
    login = visit.login("ivan")
    card = visit.card(page, "ivan")
    tab, _ = visit.approval(page, card, "ivan")
    tab.wait_text("Signed in")
    page.to_front()
    page.wait_for(visit.state("ivan") + ".includes('Authorised')", "authorised account")
    page.wait_for("!document.querySelector('.asking')", "end of the question")
    return login.done()


def by_code(visit):
    page = visit.enter()
    login = visit.login("erin")
    card = visit.card(page, "erin")
    visit.picture(page, "device")
    code = re.search(r"\b[A-Z]{4}-[A-Z]{4}\b", page.text())
    need(code, "no code in " + page.text())
    visit.approval(page, card, "erin", code[0])
    page.to_front()
    page.wait_for(visit.state("erin") + ".includes('Authorised')", "authorised account", 60)
    return login.done()


def metrics(visit):
    """As Prometheus fetches them."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(visit.url + "metrics", headers={"Authorization": "Bearer " + visit.token})
    with opener.open(request, timeout=20) as answer:
        need(answer.headers["Content-Type"].startswith("text/plain; version=0.0.4"), answer.headers["Content-Type"])
        text = answer.read().decode()
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+(?:\{[^}]*\})?) ([0-9.e+]+)', line)
            need(match, "not in Prometheus's format: " + line)
            values[match[1]] = float(match[2])
    server = '{server="IMAP-%d"' % visit.imap
    for name, least in (("emailproxy_logins_total%s,result=\"accepted\"}" % server, 2), ("emailproxy_tls_handshakes_total%s,with=\"server\",result=\"ok\"}" % server, 2),
                        ("emailproxy_relayed_bytes_total%s,to=\"client\"}" % server, 100), ('emailproxy_token_requests_total{result="granted"}', 2),
                        ("emailproxy_token_request_duration_seconds_count", 2), ('emailproxy_consents_total{result="granted"}', 2),
                        ('emailproxy_accounts{state="authorised"}', 2)):
        need(values.get(name, 0) >= least, "%s is %s: %s" % (name, values.get(name), text))
    need("@real.test" not in text, "an account's name is in it")
    return "%d values" % len(values)


def moved(visit):
    """SIGHUP with another address, then with none."""
    import signal, time
    port = free_ports(1)[0]
    text = visit.proxy.config.read_text()
    old = visit.url
    visit.proxy.config.write_text(re.sub(r"console_address = .*", "console_address = %d" % port, text))
    visit.proxy.send_signal(signal.SIGHUP)
    visit.proxy.wait_listening([port])
    visit.url = "http://127.0.0.1:%d/" % port
    visit.enter()
    need(not answers(old), "the old address still answers")
    visit.proxy.config.write_text(re.sub(r"console_address = .*\n", "", text))
    visit.proxy.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while answers(visit.url):
        need(time.monotonic() < end, "it still answers")
        time.sleep(0.05)


def answers(url):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "healthz", timeout=5)
        return True
    except OSError:
        return False


def no_secret(stage, proxy, visit):
    need(visit.token and visit.token not in proxy.said(), "the console's token is in the log")
    return logs.no_secret(stage, proxy)


PASTED = [("link", link), ("without token", shut), ("consent by paste", by_paste), ("consent without JavaScript", without_javascript),
          ("consent dismissed", dismissed), ("debug logging", debug)]
RECEIVED = [("consent by button", by_button), ("consent by device code", by_code), ("metrics", metrics), ("moves at SIGHUP", moved)]
