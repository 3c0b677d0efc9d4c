"""Real mail clients, each doing what a person would do with it."""
import imaplib, os, poplib, pty, re, select, shutil, smtplib, ssl, subprocess, tempfile, threading, time, uuid, pathlib

from checks import Fail, Skip, need

imaplib.Commands.setdefault("ID", ("NONAUTH", "AUTH", "SELECTED"))
HOST = "localhost"


class Clients:
    """All clients of the protocols whose ports are given. `mode`: plain, tls or starttls on the local side."""

    def __init__(self, stage, user, imap=None, pop=None, smtp=None, mode="plain"):
        self.stage, self.user, self.password, self.mode = stage, user, stage.accounts[user], mode
        self.ports = dict(imap=imap, pop=pop, smtp=smtp)
        self.context = ssl.create_default_context(cafile=stage.ca)

    def run(self, report, title):
        methods = [name for name in dir(self) if name.split("_")[0] in self.ports and "_" in name]
        # A wrong password comes last: it may start a new authorisation.
        for name in sorted(methods, key=lambda name: ("wrong" in name, name)):
            if self.ports[name.split("_")[0]]:
                report.check("%s %s" % (title, name.replace("_", " ")), getattr(self, name))

    # -- the Python library --

    def imap(self):
        port = self.ports["imap"]
        session = imaplib.IMAP4_SSL(HOST, port, ssl_context=self.context, timeout=60) if self.mode == "tls" else imaplib.IMAP4(HOST, port, timeout=60)
        if self.mode == "starttls":
            session.starttls(self.context)
        return session

    def use(self, session):
        """A mailbox's life: list, select, fetch, the big message, append, search, expunge, logout."""
        need(session.list()[0] == "OK", "LIST")
        count, there = int(session.select("INBOX")[1][0]), self.stage.messages(self.user)
        need(count == there, "EXISTS %d, on disk %d" % (count, there))
        data = session.fetch("1:20", "(UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        need(sum(isinstance(part, tuple) for part in data) == 20, "FETCH 1:20")
        big = session.search(None, "LARGER", "10000000")[1][0].split()[0]
        start = time.monotonic()
        body = session.fetch(big, "(BODY.PEEK[])")[1][0][1]
        seconds = time.monotonic() - start
        need(len(body) == len(self.stage.big), "the big message has %d octets" % len(body))
        mark = uuid.uuid4().hex
        need(session.append("Drafts", "", None, ("Subject: %s\r\n\r\n%s\r\n" % (mark, "y" * 200000)).encode())[0] == "OK", "APPEND")
        session.select("Drafts")
        found = session.search(None, "SUBJECT", '"%s"' % mark)[1][0].split()
        need(len(found) == 1, "SEARCH found %d" % len(found))
        session.store(found[0], "+FLAGS", r"(\Deleted)")
        session.expunge()
        need(session.logout()[0] == "BYE", "LOGOUT")
        return "%d messages, %.0f MB in %.1f s" % (count, len(body) / 1e6, seconds)

    def imap_imaplib_login(self):
        session = self.imap()
        session.login(self.user, self.password)
        return self.use(session)

    def imap_imaplib_authenticate_plain(self):
        session = self.imap()
        session.authenticate("PLAIN", lambda _: ("\0%s\0%s" % (self.user, self.password)).encode())
        return self.use(session)

    def imap_imaplib_capabilities(self):
        session = self.imap()
        before = session.capabilities
        need("AUTH=PLAIN" in before and "LOGINDISABLED" not in before and "AUTH=XOAUTH2" not in before, "before login: %r" % (before,))
        session.login(self.user, self.password)
        after = session.capability()[1][-1].decode()
        need("SORT" in after, "after login: %s" % after)
        session.logout()
        return " ".join(before)

    def imap_imaplib_wrong_password(self):
        session = self.imap()
        try:
            session.login(self.user, self.password + "x")
        except imaplib.IMAP4.error as error:
            session.login(self.user, self.password)  # the session goes on, and so does the account
            session.logout()
            return str(error)
        raise Fail("a wrong password was accepted")

    def pop(self):
        port = self.ports["pop"]
        session = poplib.POP3_SSL(HOST, port, context=self.context, timeout=60) if self.mode == "tls" else poplib.POP3(HOST, port, timeout=60)
        if self.mode == "starttls":
            session.stls(self.context)
        return session

    def pop_poplib(self):
        session = self.pop()
        offers = session.capa()
        need(offers.get("SASL") == ["PLAIN"], "CAPA: %r" % offers)
        session.user(self.user)
        session.pass_(self.password)
        count, there = session.stat()[0], self.stage.messages(self.user)
        need(count == there, "STAT %d, on disk %d" % (count, there))
        need(len(session.list()[1]) == count and len(session.uidl()[1]) == count, "LIST, UIDL")
        need(b".a line that begins with a dot" in session.retr(1)[1], "dot-stuffing")
        big = next(int(line.split()[0]) for line in session.list()[1] if int(line.split()[1]) > 10_000_000)
        need(session.retr(big)[2] == len(self.stage.big), "the big message")
        session.top(2, 1)
        session.quit()
        return "%d messages" % count

    def pop_poplib_wrong_password(self):
        session = self.pop()
        session.user(self.user)
        try:
            session.pass_(self.password + "x")
        except poplib.error_proto as error:
            session.user(self.user)
            session.pass_(self.password)
            session.quit()
            return str(error)
        raise Fail("a wrong password was accepted")

    def smtp(self):
        port = self.ports["smtp"]
        session = smtplib.SMTP_SSL(HOST, port, context=self.context, timeout=60) if self.mode == "tls" else smtplib.SMTP(HOST, port, timeout=60)
        if self.mode == "starttls":
            session.starttls(context=self.context)
        session.ehlo()
        return session

    def submit(self, session, octets=0):
        mark = uuid.uuid4().hex
        text = "Subject: %s\r\nFrom: %s\r\nTo: %s\r\n\r\n.dot\r\n" % (mark, self.user, self.user) + ("z" * 76 + "\r\n") * (octets // 78)
        session.sendmail(self.user, [self.user], text)
        session.quit()
        return self.delivered(mark)

    def delivered(self, mark):
        need(self.stage.arrived(self.user, mark), "sent, but not delivered")
        return "delivered"

    def smtp_smtplib_plain(self):
        session = self.smtp()
        session.user, session.password = self.user, self.password
        offered = session.esmtp_features.get("auth", "").split()
        need(sorted(offered) == ["LOGIN", "PLAIN"], "AUTH %s is offered" % offered)
        need(session.auth("PLAIN", session.auth_plain)[0] == 235, "AUTH")
        return self.submit(session, 8_000_000) + ", 8 MB"

    def smtp_smtplib_login(self):
        session = self.smtp()
        session.user, session.password = self.user, self.password
        need(session.auth("LOGIN", session.auth_login)[0] == 235, "AUTH")
        return self.submit(session)

    def smtp_smtplib_own_choice(self):
        session = self.smtp()
        session.login(self.user, self.password)
        return self.submit(session)

    def smtp_smtplib_wrong_password(self):
        session = self.smtp()
        try:
            session.login(self.user, self.password + "x")
        except smtplib.SMTPAuthenticationError as error:
            session.login(self.user, self.password)
            session.quit()
            return "%d %s" % (error.smtp_code, error.smtp_error.decode())
        raise Fail("a wrong password was accepted")

    # -- curl --

    def curl(self, scheme, path, *arguments, data=None):
        url = "%s://%s:%d/%s" % (scheme + ("s" if self.mode == "tls" else ""), HOST, self.ports["pop" if scheme == "pop3" else scheme], path)
        tls = ["--cacert", self.stage.ca] + (["--ssl-reqd"] if self.mode == "starttls" else [])
        return run(["curl", "-sS", "-m", "60", "-u", self.user + ":" + self.password] + tls + list(arguments) + [url], data)[0]

    def imap_curl_initial_response(self):
        need(b"Subject:" in self.curl("imap", "INBOX;MAILINDEX=1", "--sasl-ir", "--login-options", "AUTH=PLAIN"), "no message")

    def imap_curl_two_steps(self):
        need(b"Subject:" in self.curl("imap", "INBOX;MAILINDEX=1", "--login-options", "AUTH=PLAIN"), "no message")

    def imap_curl_append(self):
        mark = uuid.uuid4().hex
        with tempfile.NamedTemporaryFile(dir=self.stage.dir) as file:
            file.write(("Subject: %s\r\n\r\nx\r\n" % mark).encode())
            file.flush()
            self.curl("imap", "Sent", "-T", file.name)
        found = self.curl("imap", "Sent?SUBJECT%20" + mark)
        need(re.search(rb"SEARCH \d", found), "not found: %r" % found)

    def pop_curl(self):
        need(b"Subject:" in self.curl("pop3", "1", "--login-options", "AUTH=PLAIN"), "no message")

    def smtp_curl(self):
        mark = uuid.uuid4().hex
        self.curl("smtp", "client.test", "--mail-from", self.user, "--mail-rcpt", self.user, "-T", "-", data="Subject: %s\r\n\r\nhi\r\n" % mark)
        return self.delivered(mark)

    # -- mbsync, fetchmail, mutt --

    def imap_mbsync(self):
        with Home(self.stage) as home:
            mode = dict(plain="None", tls="IMAPS", starttls="STARTTLS")[self.mode]
            (home / "rc").write_text(
                "IMAPAccount r\nHost %s\nPort %d\nUser %s\nPass %s\nSSLType %s\nCertificateFile %s\nAuthMechs LOGIN\n\n"
                "IMAPStore far\nAccount r\n\nMaildirStore near\nPath %s/\nInbox %s/INBOX\n\n"
                "Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync All\nSyncState *\n"
                % (HOST, self.ports["imap"], self.user, quoted(self.password), mode, self.stage.ca, home, home))
            run(["mbsync", "-q", "-c", home / "rc", "c"], home=home)
            count = sum(len(list((home / "INBOX" / sub).iterdir())) for sub in ("cur", "new"))
            need(count == self.stage.messages(self.user), "%d of %d" % (count, self.stage.messages(self.user)))
            mark = uuid.uuid4().hex
            (home / "INBOX/cur" / (mark + ":2,S")).write_text("From: m@x\nSubject: %s\n\nnew\n" % mark)
            run(["mbsync", "-q", "-c", home / "rc", "c"], home=home)
            self.delivered(mark)
            return "%d down, 1 up" % count

    def fetchmail(self, protocol, port, authentication=""):
        tls = dict(plain="sslproto ''", tls="ssl sslcertck sslcertfile %s" % self.stage.ca,
                   starttls="sslproto 'TLS1.2+' sslcertck sslcertfile %s" % self.stage.ca)[self.mode]
        with Home(self.stage) as home:
            (home / "rc").write_text('poll %s service %d protocol %s %s user %s password %s keep fetchall fetchlimit 30 %s mda "cat >> %s/out"\n' % (
                HOST, port, protocol, authentication, quoted(self.user), quoted(self.password), tls, home))
            (home / "rc").chmod(0o600)
            run(["fetchmail", "-f", home / "rc", "--nosyslog", "--pidfile", home / "pid", "-i", home / "ids", "--fastuidl", "0", "-v"],
                home=home, codes=(0, 13))
            count = len(re.findall(rb"^Message-I[Dd]:", (home / "out").read_bytes(), re.M))
            need(count == 30, "%d messages" % count)
            return "%d messages" % count

    def imap_fetchmail(self):
        return self.fetchmail("IMAP", self.ports["imap"])

    def imap_fetchmail_password(self):
        return self.fetchmail("IMAP", self.ports["imap"], "auth password")

    def pop_fetchmail(self):
        return self.fetchmail("POP3", self.ports["pop"])

    def imap_mutt(self):
        tool("mutt")
        with Home(self.stage) as home:
            escaped = lambda text: quoted(text).replace("$", "\\$")
            (home / "rc").write_text(
                "set imap_user=%s\nset imap_pass=%s\nset ssl_starttls=%s\nset ssl_force_tls=%s\nset ssl_ca_certificates_file=%s\nset certificate_file=%s\n"
                "set folder=\nset record=\nset postponed=\nset header_cache=\nset move=no\nset wait_key=no\nset mail_check=60\nunset tunnel\n" % (
                    escaped(self.user), escaped(self.password), "yes" if self.mode == "starttls" else "no",
                    "no" if self.mode == "plain" else "yes", self.stage.ca, self.stage.ca))
            url = "%s://%s:%d/INBOX" % ("imaps" if self.mode == "tls" else "imap", HOST, self.ports["imap"])
            keys = 'push "<first-entry><pipe-message>cat > %s/message<enter><quit>"' % home
            screen = on_terminal(["mutt", "-n", "-F", home / "rc", "-f", url, "-e", keys], dict(TERM="xterm", HOME=str(home), LC_ALL="C.UTF-8"), 40)
            message = home / "message"
            need(message.exists() and "Subject" in message.read_text("utf-8", "replace"), "no message; screen: %r" % screen[-200:])

    # -- msmtp, swaks --

    def msmtp(self, method):
        tls = dict(plain="tls off", tls="tls on\ntls_starttls off\ntls_trust_file %s" % self.stage.ca,
                   starttls="tls on\ntls_starttls on\ntls_trust_file %s" % self.stage.ca)[self.mode]
        with Home(self.stage) as home:
            (home / "rc").write_text('account default\nhost %s\nport %d\nfrom %s\nauth %s\nuser %s\npasswordeval "cat %s/secret"\n%s\n' % (
                HOST, self.ports["smtp"], self.user, method, self.user, home, tls))
            (home / "rc").chmod(0o600)
            (home / "secret").write_text(self.password)
            mark = uuid.uuid4().hex
            run(["msmtp", "-C", home / "rc", self.user], "Subject: %s\n\nhi\n" % mark, home=home)
            return self.delivered(mark)

    def smtp_msmtp_plain(self):
        return self.msmtp("plain")

    def smtp_msmtp_login(self):
        return self.msmtp("login")

    def swaks(self, method, *more):
        verify = ["--tls-verify", "--tls-ca-path", self.stage.ca]
        tls = dict(plain=[], tls=["--tlsc"] + verify, starttls=["--tls"] + verify)[self.mode]
        mark = uuid.uuid4().hex
        run(["swaks", "--server", HOST, "--port", self.ports["smtp"], "--from", self.user, "--to", self.user, "--auth", method,
             "--auth-user", self.user, "--auth-password", self.password, "--h-Subject", mark] + tls + list(more))
        return self.delivered(mark)

    def smtp_swaks_plain(self):
        return self.swaks("PLAIN")

    def smtp_swaks_login(self):
        return self.swaks("LOGIN")

    def smtp_swaks_pipelining(self):
        return self.swaks("PLAIN", "--pipeline")

    # -- many at once --

    def imap_ten_at_once(self):
        seconds, errors = [], []

        def one():
            start = time.monotonic()
            try:
                session = self.imap()
                session.login(self.user, self.password)
                session.select("INBOX")
                session.logout()
                seconds.append(time.monotonic() - start)
            except Exception as error:
                errors.append(repr(error)[:100])

        threads = [threading.Thread(target=one) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        need(len(seconds) == 10 and not errors, "%d of 10; %s" % (len(seconds), errors[:2]))
        return "slowest %.2f s" % max(seconds)


class Home:
    """A home folder for one client, gone afterwards."""

    def __init__(self, stage):
        self.stage = stage

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="client-", dir=self.stage.dir))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def tool(name):
    if not shutil.which(name):
        raise Skip("%s is not installed; apt-get install %s" % (name, "isync" if name == "mbsync" else name))


def quoted(text):
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def run(command, data=None, home=None, codes=(0,), seconds=90):
    """(standard output, everything as text); anything but an exit code of `codes` fails."""
    tool(command[0])
    environment = dict({k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}, LC_ALL="C.UTF-8")
    if home:
        environment["HOME"] = str(home)
    source = dict(stdin=subprocess.DEVNULL) if data is None else dict(input=data.encode())
    try:
        done = subprocess.run([str(a) for a in command], capture_output=True, env=environment, timeout=seconds, **source)
    except subprocess.TimeoutExpired as late:
        raise Fail("%s hung; last output %r" % (command[0], (late.stderr or late.stdout or b"")[-160:]))
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    need(done.returncode in codes, "exit code %d: %s" % (done.returncode, " | ".join(text.splitlines()[-4:])[:300]))
    return done.stdout, text


def on_terminal(command, environment, seconds):
    """Runs a full-screen program on a terminal of its own; what was on the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(environment)
        os.execvp(command[0], [str(a) for a in command])
    end, screen = time.monotonic() + seconds, b""
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # the other end of the terminal has closed
                break
            if not data:
                break
            screen += data
    else:
        os.kill(pid, 15)
    os.waitpid(pid, 0)
    os.close(terminal)
    return " ".join(re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]", b" ", screen).decode("utf-8", "replace").split())
