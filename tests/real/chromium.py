"""A headless Chromium, driven over its debugging pipe: NUL-separated JSON, so that nothing has to be installed for it."""
import base64, json, os, pathlib, select, shutil, subprocess, tempfile, time

from checks import Fail, Skip, need

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def program():
    """The browser, or a Skip that says how to get it."""
    found = os.environ.get("CHROMIUM_BIN") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        raise Skip("no Chromium; apt-get install chromium, or name one in CHROMIUM_BIN")
    return found


class Chromium:
    """`with Chromium() as browser: page = browser.open(url)`. It trusts any certificate and keeps nothing."""

    def __init__(self):
        self.program = program()

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix="emailproxy-chromium-")
        to_read, self.writer = os.pipe()
        self.reader, to_write = os.pipe()
        arguments = [self.program, "--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + self.home, "--no-first-run",
                     "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
                     "--disable-sync", "--ignore-certificate-errors", "--hide-scrollbars", "--force-device-scale-factor=1",
                     "--no-proxy-server", "about:blank"]
        if os.geteuid() == 0:
            arguments.insert(1, "--no-sandbox")
        # It reads from descriptor 3 and writes to descriptor 4.
        shell = ["bash", "-c", 'r=$1 w=$2; shift 2; exec "$@" 3<&$r 4>&$w', "bash", str(to_read), str(to_write)]
        self.process = subprocess.Popen(shell + arguments, pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, HOME=self.home))
        os.close(to_read)
        os.close(to_write)
        self.number, self.input, self.events = 0, b"", []
        self.call("Target.setDiscoverTargets", discover=True)
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except Exception:
            self.process.kill()
            self.process.wait()
        os.close(self.writer)
        os.close(self.reader)
        shutil.rmtree(self.home, ignore_errors=True)

    def call(self, method, session=None, **parameters):
        """Sends a command and waits for its answer; events that come meanwhile are kept."""
        self.number += 1
        message = dict(id=self.number, method=method, params=parameters)
        if session:
            message["sessionId"] = session
        os.write(self.writer, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + 30
        while True:
            answer = self._next(end - time.monotonic())
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise Fail("%s: %s" % (method, answer["error"].get("message")))
                return answer["result"]
            if "method" in answer:
                self.events = self.events[-500:] + [answer]

    def _next(self, seconds):
        while b"\0" not in self.input:
            need(seconds > 0 and select.select([self.reader], [], [], seconds)[0], "Chromium does not answer")
            more = os.read(self.reader, 1 << 20)
            need(more, "Chromium has ended")
            self.input += more
        message, _, self.input = self.input.partition(b"\0")
        return json.loads(message)

    def pages(self):
        return [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]

    def attach(self, target):
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        return page

    def open(self, url="about:blank", scripts=True):
        page = self.attach(self.call("Target.createTarget", url="about:blank")["targetId"])
        if not scripts:
            page.call("Emulation.setScriptExecutionDisabled", value=True)
        page.go(url)
        return page

    def opened_by(self, action, seconds=20):
        """Does something that opens a tab; the tab."""
        before = {target["targetId"] for target in self.pages()}
        action()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for target in self.pages():
                if target["targetId"] not in before:
                    return self.attach(target["targetId"])
            time.sleep(0.05)
        raise Fail("no tab was opened")


class Page:
    def __init__(self, browser, target, session):
        self.browser, self.target, self.session = browser, target, session

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        need("exceptionDetails" not in result, "%s: %s" % (expression, result.get("exceptionDetails")))
        return result["result"].get("value")

    def go(self, url):
        if url != "about:blank":
            self.call("Page.navigate", url=url)
            self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'", "the page at " + url)

    def url(self):
        """Where it is, also where nothing answered there."""
        history = self.call("Page.getNavigationHistory")
        return history["entries"][history["currentIndex"]]["url"]

    def wait_for(self, expression, what, seconds=30):
        """Waits until the expression is true; a page that is being loaded may not know it."""
        end = time.monotonic() + seconds
        while True:
            try:
                if self.evaluate("Boolean(%s)" % expression):
                    return
            except Fail:
                pass
            need(time.monotonic() < end, "no %s; at %s: %s" % (what, self.url(), self.text()[:400]))
            time.sleep(0.05)

    def text(self):
        try:
            return self.evaluate("document.body ? document.body.innerText : ''") or ""
        except Fail:
            return ""

    def wait_text(self, text, seconds=30):
        self.wait_for("document.body && document.body.innerText.includes(%s)" % json.dumps(text), repr(text), seconds)

    def to_front(self):
        """A tab behind another one sleeps."""
        self.call("Page.bringToFront")

    def forget(self, domain):
        """Signs out of this host."""
        for cookie in self.call("Network.getAllCookies")["cookies"]:
            if cookie["domain"] == domain:
                self.call("Network.deleteCookies", name=cookie["name"], domain=domain, path=cookie["path"])

    def click(self, selector):
        """Clicks with the mouse in the middle of it, as a person does."""
        self.wait_for("document.querySelector(%s)" % json.dumps(selector), selector)
        place = self.evaluate(
            "(() => { const e = document.querySelector(%s); e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2, r.width]; })()" % json.dumps(selector))
        need(place[2] > 0, selector + " is not to be seen")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def type(self, selector, text):
        self.click(selector)
        self.evaluate("document.querySelector(%s).select()" % json.dumps(selector))
        self.call("Input.insertText", text=text)
        shown = self.evaluate("document.querySelector(%s).value" % json.dumps(selector))
        need(shown == text, "the field has %r" % shown)

    def view(self, width, height, dark=False, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark" if dark else "light")])

    def picture(self, path):
        """All of the page, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = dict(x=0, y=0, width=size["width"], height=min(size["height"], 4000), scale=1)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        pathlib.Path(path).write_bytes(base64.b64decode(data))

    def complaints(self):
        """What the browser has complained about on this page: errors of scripts, and what the page's policy forbids."""
        said = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            if event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
                said.append(event["params"]["entry"]["text"])
            if event["method"] == "Runtime.exceptionThrown":
                said.append(str(event["params"]["exceptionDetails"].get("text")))
        return said
