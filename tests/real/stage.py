"""Everything around the proxy: a certificate authority, an OAuth provider (oidc-provider), Dovecot
(IMAP, POP3, submission; OAuth only), an SMTP sink that delivers into Dovecot, and mailboxes.

All state is below one temporary folder, all ports are free ones, and only what was started here is
stopped here, so that several runs do not meet."""
import base64, grp, json, os, pathlib, pwd, random, secrets, shutil, smtplib, socket, socketserver
import subprocess, tempfile, threading, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
DOMAIN = "real.test"
SERVICE_ACCOUNT = "service@project.real.test"


class Stage:
    """`with Stage() as stage:` starts it all and ends it all. `stage.accounts` maps login names to
    passwords, `stage.secrets` OAuth client names to their secrets; both are new in every run. `stage.big`
    is the 25 MB message in alice's inbox, `stage.compresses` whether Dovecot knows COMPRESS=DEFLATE."""

    def __init__(self, keep=False):
        self.keep = keep
        self.processes = []
        self.sink = None

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="emailproxy-real-"))
        self.dir.chmod(0o755)  # Dovecot's own users walk through it
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.sink:
            self.sink.shutdown()
            self.sink.server_close()
        if self.keep:
            print("state kept in %s" % self.dir)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def _start(self):
        for name in ("ca", "log", "provider", "dovecot/run", "dovecot/state", "mail"):
            (self.dir / name).mkdir(parents=True)
        token = lambda: secrets.token_hex(8)
        names = "alice bob carol dave erin frank grace ivan judy mallory nobody".split() + ["crowd%02d" % number for number in range(20)]
        self.accounts = {"%s@%s" % (name, DOMAIN): "%s-%s" % (name, token()) for name in names}
        self.accounts["weird@" + DOMAIN] = 'p@ss "w\\ord" é£ {3} ' + token()
        self.secrets = {name: "%s-%s" % (name, token()) for name in ("code-secret", "ropc", "ccg-bob", "ccg-wrong", "dovecot")}
        self.ca = self.dir / "ca" / "ca.crt"
        names = "https http imap imaps pop3 pop3s submission submissions lmtp sink".split()
        self.port = dict(zip(names, free_ports(len(names))))
        self.redirects = free_ports(4)
        certificates(self.dir / "ca")
        self._service_account()
        self._mailboxes()
        self.sink = Sink(self.port["sink"], self.port["lmtp"])
        threading.Thread(target=self.sink.serve_forever, daemon=True).start()
        self._provider()
        self._dovecot()

    def environment(self, **more):
        """The environment for the proxy and the clients: the stage's authority is the only one."""
        clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        return dict(clean, SSL_CERT_FILE=str(self.ca), LC_ALL="C.UTF-8", **more)

    def run_process(self, name, arguments, ports, cwd=None):
        out = open(self.dir / "log" / (name + ".out"), "ab")
        process = subprocess.Popen([str(a) for a in arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd)
        self.processes.append(process)
        end = time.monotonic() + 30
        while not all(listening(port) for port in ports):
            if process.poll() is not None or time.monotonic() > end:
                text = (self.dir / "log" / (name + ".out")).read_text(errors="replace")[-800:]
                raise RuntimeError("%s did not start: %s" % (name, text))
            time.sleep(0.05)
        return process

    # -- the provider --

    def _provider(self):
        settings = dict(
            https_port=self.port["https"], http_port=self.port["http"], passwords=self.accounts, secrets=self.secrets,
            redirects=["http://localhost:%d" % port for port in self.redirects], log=str(self.dir / "log/provider.jsonl"),
            key=str(self.dir / "ca/server.key"), certificate=str(self.dir / "ca/server.crt"),
            client_certificate=str(self.dir / "ca/client.crt"), service_account=SERVICE_ACCOUNT,
            service_account_key=str(self.dir / "ca/service.key"))
        home = self.dir / "provider"
        (home / "settings.json").write_text(json.dumps(settings))
        shutil.copy(HERE / "provider/server.mjs", home)
        shutil.copy(HERE / "provider/package.json", home)
        (home / "node_modules").symlink_to(provider_packages())
        (self.dir / "log/provider.jsonl").touch()
        self._run_provider()

    def _run_provider(self):
        self.provider = self.run_process("provider", ["node", "server.mjs", "settings.json"], [self.port["https"], self.port["http"]],
                                         cwd=self.dir / "provider")

    def restart_provider(self):
        """Another provider in the same place: it keeps tokens in memory, and has forgotten them all."""
        self.provider.terminate()
        self.provider.wait(10)
        self.processes.remove(self.provider)
        self._run_provider()

    def url(self, path):
        return "https://localhost:%d%s" % (self.port["https"], path)

    def control(self, **settings):
        """Changes how the provider answers from now on; see `behaviour` in server.mjs."""
        query = "&".join("%s=%s" % pair for pair in settings.items())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open("http://127.0.0.1:%d/control?%s" % (self.port["http"], query), timeout=10).read()

    def provider_log(self, since=0):
        with open(self.dir / "log/provider.jsonl") as log:
            return [json.loads(line) for line in log][since:]

    def token_requests(self, since=0):
        """The grant types asked for since the log was so many lines long."""
        entries = self.provider_log(since)
        return [e["params"].get("grant_type") for e in entries if e["event"] == "request" and e["path"].endswith("/token")]

    def _service_account(self):
        key = self.dir / "ca/service.key"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
        (self.dir / "ca/service.json").write_text(json.dumps({
            "type": "service_account", "project_id": "real", "private_key_id": "key1", "private_key": key.read_text(),
            "client_email": SERVICE_ACCOUNT, "client_id": "1234567890", "token_uri": self.url("/google/token")}, indent=1))

    # -- Dovecot --

    def _dovecot(self):
        root = os.geteuid() == 0
        me = pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(os.getegid()).gr_name
        rootless = ["default_internal_user = " + me, "default_login_user = " + me, "default_internal_group = " + group]
        rootless += ["service %s {\n  chroot =\n}" % name for name in ("anvil", "imap-login", "pop3-login", "submission-login")]
        values = {name.upper(): port for name, port in self.port.items()}
        self.compresses = any(pathlib.Path(folder, "dovecot/modules/lib30_imap_zlib_plugin.so").exists() for folder in ("/usr/lib", "/usr/lib64", "/usr/local/lib"))
        values.update(COMPRESS="mail_plugins = imap_zlib" if self.compresses else "", DIR=self.dir, USER="mail" if root else me, GROUP="mail" if root else group,
                      ROOTLESS="" if root else "\n".join(rootless))
        text = (HERE / "dovecot.conf").read_text()
        for name, value in values.items():
            text = text.replace("@%s@" % name, str(value))
        (self.dir / "dovecot/dovecot.conf").write_text(text)
        (self.dir / "dovecot/oauth2.conf").write_text("\n".join([
            "introspection_mode = post",
            "introspection_url = https://dovecot:%s@localhost:%d/token/introspection" % (self.secrets["dovecot"], self.port["https"]),
            "username_attribute = email", "username_format = %u", "active_attribute = active", "active_value = true",
            "tls_ca_cert_file = %s" % self.ca, "timeout_msecs = 30000", ""]))
        ports = [self.port[name] for name in "imap imaps pop3 pop3s submission submissions lmtp".split()]
        self.run_process("dovecot", [dovecot_program(), "-F", "-c", self.dir / "dovecot/dovecot.conf"], ports)

    def maildir(self, user):
        return self.dir / "mail" / user.split("@")[0]

    def messages(self, user):
        """How many messages are in the inbox, counted on disk."""
        return sum(len(list((self.maildir(user) / sub).iterdir())) for sub in ("cur", "new"))

    def deliver(self, user, text):
        """Puts a message into the inbox, past the proxy."""
        with smtplib.LMTP("127.0.0.1", self.port["lmtp"]) as lmtp:
            lmtp.sendmail("outside@example.org", [user], text)

    def arrived(self, user, marker, seconds=15):
        """The path of the message in the inbox whose first kilobytes contain the marker; None if it does not come."""
        end = time.monotonic() + seconds
        while True:
            recent = time.time() - 60
            for sub in ("new", "cur"):
                for path in (self.maildir(user) / sub).iterdir():
                    try:
                        if path.stat().st_mtime > recent and marker.encode() in path.open("rb").read(20000):
                            return path
                    except OSError:
                        pass  # moved from new to cur while we looked
            if time.monotonic() > end:
                return None
            time.sleep(0.1)

    def _mailboxes(self):
        for account in self.accounts:
            name = account.split("@")[0]
            if name == "nobody":
                continue
            box = self.maildir(account)
            for sub in ("cur", "new", "tmp"):
                (box / sub).mkdir(parents=True)
            for number in range(200 if name == "alice" else 3):
                text = (
                    'From: "Sender %(n)d" <sender%(n)d@example.org>\r\nTo: %(to)s\r\nSubject: message %(n)d =?utf-8?q?caf=C3=A9?=\r\n'
                    "Date: Tue, 14 Nov 2023 22:%(m)02d:00 +0000\r\nMessage-ID: <%(name)s-%(n)d@real.test>\r\n\r\n"
                    "Number %(n)d\r\n.a line that begins with a dot\r\n..two\r\nFrom here on\r\n%(pad)s\r\n"
                ) % dict(n=number, m=number % 60, to=account, name=name, pad="x" * (number * 7 % 70))
                (box / "cur" / ("%d.M%dP1.real:2," % (1700000000 + number, number))).write_bytes(text.encode())
            if name == "alice":
                self.big = (b"From: big@example.org\r\nTo: alice@real.test\r\nSubject: big\r\nMessage-ID: <alice-big@real.test>\r\n\r\n"
                            + base64.encodebytes(os.urandom(18_500_000)).replace(b"\n", b"\r\n"))
                (box / "cur" / "1700009999.M1P1.real:2,").write_bytes(self.big)
        if os.geteuid() == 0:
            owner = pwd.getpwnam("mail")
            for path, _, files in os.walk(self.dir / "mail"):
                for entry in [path] + [os.path.join(path, file) for file in files]:
                    os.chown(entry, owner.pw_uid, owner.pw_gid)


class Sink(socketserver.ThreadingTCPServer):
    """An SMTP server that hands every message on by LMTP: what Dovecot's submission relays to."""
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port, lmtp):
        self.lmtp = lmtp
        super().__init__(("127.0.0.1", port), SinkSession)


class SinkSession(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda line: self.wfile.write(line.encode() + b"\r\n")
        sender, recipients = "", []
        say("220 sink ESMTP")
        for line in iter(self.rfile.readline, b""):
            verb, _, rest = line.decode("utf-8", "replace").rstrip("\r\n").partition(" ")
            verb = verb.upper()
            address = rest[rest.find("<") + 1:rest.find(">")]
            if verb == "EHLO":
                say("250-sink\r\n250-SIZE 83886080\r\n250 8BITMIME")
            elif verb == "MAIL":
                sender, recipients = address, []
                say("250 2.1.0 OK")
            elif verb == "RCPT":
                recipients.append(address)
                say("250 2.1.5 OK")
            elif verb == "DATA":
                say("354 go on")
                body = []
                for text in iter(self.rfile.readline, b".\r\n"):
                    if not text:
                        return
                    body.append(text[1:] if text.startswith(b".") else text)
                try:
                    for recipient in recipients:  # LMTP answers for each of them, and smtplib reads one answer
                        with smtplib.LMTP("127.0.0.1", self.server.lmtp) as lmtp:
                            lmtp.sendmail(sender, [recipient], b"".join(body))
                    say("250 2.0.0 delivered")
                except (OSError, smtplib.SMTPException) as error:
                    say("451 4.3.0 not delivered: %s" % str(error).replace("\r", " ").replace("\n", " "))
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("250 2.0.0 OK" if verb in ("RSET", "NOOP", "HELO") else "502 5.5.1 not known here")


def free_ports(count):
    """So many different ports that are free on both loopbacks, below the range that outgoing connections take theirs from."""
    found = []
    while len(found) < count:
        port = random.randrange(12000, 32000)
        if port not in found and not listening(port) and bindable(port):
            found.append(port)
    return found


def bindable(port):
    try:
        for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            with socket.socket(family) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((host, port))
    except OSError as error:
        return error.errno in (97, 99)  # no IPv6 on this machine
    return True


def listening(port, host="127.0.0.1"):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


def openssl(*arguments):
    subprocess.run(["openssl"] + [str(a) for a in arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def certificates(folder):
    """An authority, a server certificate for localhost, and a client certificate for signed assertions."""
    new = ("-newkey", "rsa:2048", "-nodes")
    openssl("req", "-x509", *new, "-days", "30", "-subj", "/CN=real tests authority", "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    openssl("req", *new, "-subj", "/CN=localhost", "-keyout", folder / "server.key", "-out", folder / "server.csr")
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nbasicConstraints=CA:FALSE\n"
                                "keyUsage=critical,digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", folder / "server.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-days", "30", "-extfile", folder / "ext", "-out", folder / "server.crt")
    openssl("req", "-x509", *new, "-days", "30", "-subj", "/CN=real tests client", "-keyout", folder / "client.key", "-out", folder / "client.crt")


def cache():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "emailproxy-tests"


def provider_packages():
    """The folder of the provider's npm packages: those of package-lock.json, downloaded once."""
    lock = (HERE / "provider/package-lock.json").read_bytes()
    import hashlib
    home = cache() / ("provider-" + hashlib.sha256(lock).hexdigest()[:12])
    if not home.is_dir():
        cache().mkdir(parents=True, exist_ok=True)
        work = pathlib.Path(tempfile.mkdtemp(dir=cache()))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / "provider" / name, work)
        subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=work, check=True, stdin=subprocess.DEVNULL)
        try:
            work.rename(home)
        except OSError:  # another run was faster
            shutil.rmtree(work)
    return home / "node_modules"


def dovecot_program():
    return shutil.which("dovecot") or "/usr/sbin/dovecot"
