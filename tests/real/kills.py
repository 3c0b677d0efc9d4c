"""kill -9 in the middle of saving tokens, again and again.

The provider and the mail server are small ones of our own here: they answer at once, and they know which
tokens they gave and which they saw. Every refresh rotates the refresh token, so every save changes the file.

Each round starts the proxy, logs several accounts in, and kills it inside a save. Two triggers take turns:
the appearance of a new file in the folder (a save has begun), and the provider's answer (a save is about to
begin); either is followed by a random delay. A kill counts only if at that moment the provider had answered
some login with new tokens and that login had not been answered to the client yet, and if a save has left a
mark: a temporary file, or a changed configuration file.

Afterwards the file must be whole: Python's configparser reads it, every line that is not the proxy's own is
as it was, and in the next round every account must come back with a refresh token that is not older than the
one whose access token was used, and that was really given: the old or the new one, never none."""
import base64, ctypes, http.server, json, os, random, select, socket, ssl, struct, threading, time, urllib.parse

from checks import need
from proxy import WRITTEN_LINE, Proxy
from stage import free_ports

WANTED = 150
ACCOUNTS = 4
PASSWORD = "kill-test-pass"


class Ledger:
    """Which tokens were given and seen, per account, numbered."""

    def __init__(self):
        self.lock = threading.Condition()
        self.given = {}      # account → number of the newest tokens
        self.used = {}       # account → number of the newest access token that reached the mail server
        self.answered = {}   # account → number of answers in this round
        self.finished = set()
        self.wrong = []

    def new_round(self):
        with self.lock:
            self.answered, self.finished = {}, set()

    def open_logins(self):
        """Accounts that the provider has answered in this round and whose client waits still."""
        return [name for name in self.answered if name not in self.finished]


class Provider(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
        ledger = self.server.ledger
        with ledger.lock:
            if form["grant_type"] == "refresh_token":
                account, number = form["refresh_token"].rsplit("-", 2)[1:]
                given, used = ledger.given.get(account, 0), ledger.used.get(account, 0)
                if not used <= int(number) <= given:
                    ledger.wrong.append("%s came back with refresh token %s; used %d, given %d" % (account, number, used, given))
            else:
                account = form["username"].split("@")[0]
                if ledger.given.get(account):
                    ledger.wrong.append("%s lost its refresh token (given %d) and asked with the password" % (account, ledger.given[account]))
            number = ledger.given[account] = ledger.given.get(account, 0) + 1
        body = json.dumps(dict(token_type="Bearer", expires_in=1, access_token="access-%s-%d" % (account, number),
                               refresh_token="refresh-%s-%d" % (account, number))).encode()
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # killed meanwhile: nobody was answered
            return
        with ledger.lock:
            ledger.answered[account] = ledger.answered.get(account, 0) + 1
            ledger.lock.notify_all()

    def log_message(self, *_):
        pass


class TokenServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Connections end in the middle when the proxy is killed; nothing to tell."""


class MailServer(threading.Thread):
    """IMAP over TLS as far as a login goes; every token is welcome and noted."""

    def __init__(self, stage, port, ledger):
        super().__init__(daemon=True)
        self.ledger = ledger
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(stage.dir / "ca/server.crt", stage.dir / "ca/server.key")
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)

    def run(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            with self.context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n")
                for line in tls.makefile("rb"):
                    tag, verb, *rest = line.decode().split()
                    if verb.upper() == "AUTHENTICATE":
                        token = base64.b64decode(rest[1]).decode().split("Bearer ")[1].split("\1")[0]
                        account, number = token.rsplit("-", 2)[1:]
                        with self.ledger.lock:
                            self.ledger.used[account] = max(int(number), self.ledger.used.get(account, 0))
                    tls.sendall(("* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2\r\n%s OK done\r\n" % tag).encode())
        except (OSError, ValueError):
            pass  # killed in the middle, as intended


class Folder:
    """Tells when a new file appears in a folder (Linux: inotify)."""
    CREATE, MOVED = 0x100, 0x80

    def __init__(self, path):
        self.path = path
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init()
        need(self.fd >= 0 and libc.inotify_add_watch(self.fd, os.fsencode(path), self.CREATE | self.MOVED) >= 0, "inotify does not work here")

    def drain(self):
        while select.select([self.fd], [], [], 0)[0]:
            os.read(self.fd, 65536)

    def wait_new(self, seconds):
        """Waits for a new name other than a lock's."""
        end = time.monotonic() + seconds
        while select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
            data = os.read(self.fd, 65536)
            while data:
                _, mask, _, length = struct.unpack("iIII", data[:16])
                name, data = data[16:16 + length].rstrip(b"\0"), data[16 + length:]
                if mask & self.CREATE and b"lock" not in name:
                    return True
        return False

    def close(self):
        os.close(self.fd)


def run(report, stage, binary):
    report.check("kill -9 while tokens are saved", kills, stage, binary)


def kills(stage, binary):
    ledger = Ledger()
    imap, upstream, token = free_ports(3)
    provider = TokenServer(("127.0.0.1", token), Provider)
    provider.ledger = ledger
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    mail = MailServer(stage, upstream, ledger)
    mail.start()
    try:
        with Proxy(stage, binary, "kills", [("IMAP-%d" % imap, {})], [], text=configuration(imap, upstream, token)) as proxy:
            return Rounds(proxy, imap, ledger).run()
    finally:
        provider.shutdown()
        provider.server_close()
        mail.listener.close()


def configuration(imap, upstream, token):
    lines = ["# kept", "[IMAP-%d]" % imap, "server_address = localhost", "server_port = %d" % upstream, "local_address = 127.0.0.1"]
    for number in range(ACCOUNTS):
        lines += ["", "# account %d" % number, "[user%d@real.test]" % number, "token_url = http://127.0.0.1:%d/token" % token,
                  "oauth2_scope = mail", "oauth2_flow = password", "client_id = killed", "; between"]
    return "\n".join(lines) + "\n"


class Rounds:
    def __init__(self, proxy, port, ledger):
        self.proxy, self.port, self.ledger = proxy, port, ledger
        self.original = own_lines(proxy.config.read_text())
        self.accounts = ["user%d" % number for number in range(ACCOUNTS)]
        self.temporary, self.renamed, self.elsewhere = 0, 0, 0

    def run(self):
        self.proxy.start()
        clients = [self.client(name) for name in self.accounts]
        for client in clients:
            client.join(60)
        need(len(self.ledger.finished) == ACCOUNTS, "first logins: %s of %d" % (len(self.ledger.finished), ACCOUNTS))
        self.proxy.kill()
        folder = Folder(self.proxy.home)
        start, rounds, span = time.monotonic(), 0, 0.02
        try:
            while self.temporary + self.renamed < WANTED:
                need(time.monotonic() - start < 400, "too slow: only %s" % self.counts(rounds))
                rounds += 1
                span = self.round(folder, rounds, span)
                need(not self.ledger.wrong, "round %d: %s" % (rounds, "; ".join(self.ledger.wrong[:3])))
        finally:
            folder.close()
        need(self.temporary and self.renamed, "all kills on one side of the rename: %s" % self.counts(rounds))
        # One undisturbed start at the end: everybody comes back with the old or the new token.
        time.sleep(0.6)
        self.ledger.new_round()
        self.proxy.start()
        clients = [self.client(name) for name in self.accounts]
        for client in clients:
            client.join(60)
        need(len(self.ledger.finished) == ACCOUNTS and not self.ledger.wrong, "at the end: %s" % self.ledger.wrong)
        need(self.proxy.end() == 0, "exit code at the end")
        return "%s; %d temporary files left in the end" % (self.counts(rounds), len(self.strays()))

    def counts(self, rounds):
        return "%d kills during changing saves (%d before, %d after the rename), %d others, %d rounds" % (
            self.temporary + self.renamed, self.temporary, self.renamed, self.elsewhere, rounds)

    def client(self, name):
        """Logs one account in; notes when it is answered."""
        def login():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 30) as wire:
                    lines = wire.makefile("rb")
                    lines.readline()
                    wire.sendall(("a LOGIN %s@real.test %s\r\n" % (name, PASSWORD)).encode())
                    for line in lines:
                        if line.startswith(b"a "):
                            with self.ledger.lock:
                                if line.startswith(b"a OK"):
                                    self.ledger.finished.add(name)
                                elif self.proxy.process.poll() is None:
                                    self.ledger.wrong.append("%s: %s" % (name, line.decode().strip()))
                            return
            except OSError:
                pass  # killed
        thread = threading.Thread(target=login, daemon=True)
        thread.start()
        return thread

    def round(self, folder, number, span):
        """One start, one kill; how long a save takes, as far as known."""
        self.ledger.new_round()
        self.proxy.start()
        before, strays = self.proxy.config.read_bytes(), self.strays()
        folder.drain()
        clients = [self.client(name) for name in self.accounts]
        if number % 2:
            folder.wait_new(5)
        else:
            nth = random.randrange(1, ACCOUNTS + 1)
            with self.ledger.lock:
                self.ledger.lock.wait_for(lambda: sum(self.ledger.answered.values()) >= nth, 20)
        time.sleep(random.uniform(0, span))
        with self.ledger.lock:
            waiting = self.ledger.open_logins()
        self.proxy.kill()
        for client in clients:
            client.join(60)
        left, changed = self.strays() - strays, self.proxy.config.read_bytes() != before
        if waiting and left:
            self.temporary += 1
        elif waiting and changed:
            self.renamed += 1
        else:
            self.elsewhere += 1
        self.whole()
        # Longer delays when every kill comes before the rename, shorter ones when it comes too late.
        return min(0.2, span * 1.05) if left or not changed else max(0.002, span * 0.95)

    def strays(self):
        return {name for name in os.listdir(self.proxy.home) if name not in ("emailproxy.config", "proxy.log", "proxy.out") and "lock" not in name}

    def whole(self):
        text = self.proxy.config.read_text()
        parser = self.proxy.parsed()
        need(own_lines(text) == self.original, "lines that are not the proxy's have changed")
        for name in self.accounts:
            section = parser["%s@real.test" % name]
            for option in ("token_salt", "token_iterations", "access_token", "access_token_expiry", "refresh_token"):
                need(section.get(option), "%s has no %s" % (name, option))


def own_lines(text):
    """The lines that a person wrote."""
    return [line for line in text.split("\n") if not WRITTEN_LINE.match(line)]
