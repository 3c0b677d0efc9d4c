"""The program under test: its configuration, its process, its log."""
import configparser, os, pathlib, re, signal, subprocess, time

from checks import Fail, need
from stage import free_ports, listening

# What the proxy itself writes into an account's section.
WRITTEN = "token_salt token_iterations access_token access_token_expiry refresh_token last_activity client_secret_encrypted".split()
WRITTEN_LINE = re.compile(r"^(%s)\s*[=:]" % "|".join(WRITTEN))


class Proxy:
    """One proxy in a folder of its own. `servers` and `accounts` are lists of (heading, options)."""

    def __init__(self, stage, binary, name, servers, accounts, options=(), text=None):
        self.stage, self.binary = stage, binary
        self.home = stage.dir / name
        self.home.mkdir()
        self.config = self.home / "emailproxy.config"
        self.log = self.home / "proxy.log"
        self.ports = [int(heading.rsplit("-", 1)[1]) for heading, _ in servers]
        self.config.write_text(text if text is not None else sections(servers + accounts + ([("emailproxy", options)] if options else [])))
        self.log.touch()
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def launch(self, *arguments, prefix=(), **environment):
        """Starts it and returns at once."""
        out = open(self.home / "proxy.out", "ab")
        command = list(prefix) + [self.binary, "--no-gui", "--config-file", self.config, "--log-file", self.log] + list(arguments)
        self.process = subprocess.Popen([str(a) for a in command], cwd=self.home, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                        env=self.stage.environment(**environment))
        return self

    def start(self, *arguments, **environment):
        """Starts it and waits until it listens on every port."""
        self.launch(*arguments, **environment)
        self.wait_listening(self.ports)
        return self

    def wait_listening(self, ports, seconds=20):
        end = time.monotonic() + seconds
        while not all(listening(port) for port in ports):
            need(self.process.poll() is None, "the proxy ended with code %s: %s" % (self.process.returncode, self.said()[-600:]))
            need(time.monotonic() < end, "not listening on %s after %d s: %s" % (ports, seconds, self.said()[-600:]))
            time.sleep(0.01)

    def send_signal(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGTERM, seconds=20):
        """Ends it gracefully; the exit code."""
        self.send_signal(number)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Fail("still running %d s after signal %d" % (seconds, number))

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ended(self, seconds=20):
        """Waits for it to end by itself; the exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Fail("expected it to end by itself; it said: " + self.said()[-400:])

    def said(self):
        """Everything it wrote, to the log file and to the terminal."""
        parts = [path.read_text(errors="replace") for path in (self.home / "proxy.out", self.log) if path.exists()]
        return "\n".join(parts)

    def wait_said(self, pattern, since=0, seconds=20):
        """Waits for a line that matches; the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.said()[since:])
            if found:
                return found
            need(time.monotonic() < end, "nothing like %r in what it said: %s" % (pattern, self.said()[since:][-600:]))
            time.sleep(0.05)

    def parsed(self, path=None):
        """The configuration as Python's configparser reads it."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read_string((path or self.config).read_text())
        return parser


def sections(parts):
    return "\n".join("[%s]\n%s\n" % (heading, "".join("%s = %s\n" % pair for pair in dict(options).items())) for heading, options in parts)


def servers(stage, names="imap pop smtp smtp_starttls".split()):
    """Servers in front of the stage, local side in plain text; ({name: port}, [(heading, options)])."""
    upstream = dict(imap=("IMAP", "imaps"), pop=("POP", "pop3s"), smtp=("SMTP", "submissions"), smtp_starttls=("SMTP", "submission"))
    ports = dict(zip(names, free_ports(len(names))))
    parts = []
    for name in names:
        kind, port = upstream[name]
        options = dict(server_address="localhost", server_port=stage.port[port], local_address="127.0.0.1")
        if name.endswith("starttls"):
            options["server_starttls"] = True
        parts.append(("%s-%d" % (kind, ports[name]), options))
    return ports, parts


def accounts(stage, names):
    """The sections of these accounts; each stands for one way to a token."""
    secret = stage.secrets
    token, scope = stage.url("/token"), "mail offline_access"
    application = "https://outlook.office365.com/.default"
    pem = dict(jwt_certificate_path=stage.dir / "ca/client.crt", jwt_key_path=stage.dir / "ca/client.key")
    redirect = ["http://localhost:%d" % port for port in stage.redirects]
    code = dict(permission_url=stage.url("/auth"), token_url=token, oauth2_scope=scope)
    known = dict(
        alice=dict(token_url=token, oauth2_scope=scope, oauth2_flow="password", client_id="ropc", client_secret=secret["ropc"]),
        weird=dict(token_url=token, oauth2_scope=scope, oauth2_flow="password", client_id="ropc-public"),
        bob=dict(token_url=token, oauth2_scope=application, oauth2_flow="client_credentials", client_id="ccg-bob", client_secret=secret["ccg-bob"]),
        # A token that the mail server refuses: it belongs to somebody else.
        mallory=dict(token_url=token, oauth2_scope=application, oauth2_flow="client_credentials", client_id="ccg-wrong", client_secret=secret["ccg-wrong"]),
        frank=dict(token_url=token, oauth2_scope=application, oauth2_flow="client_credentials", client_id="ccg-jwt", **pem),
        carol=dict(code, redirect_uri=redirect[0], client_id="code-secret", client_secret=secret["code-secret"]),
        dave=dict(code, redirect_uri=redirect[1], client_id="code-public", use_pkce=True),
        ivan=dict(code, redirect_uri=redirect[2], client_id="code-jwt", **pem),
        judy=dict(code, redirect_uri=redirect[3], client_id="code-secret", client_secret=secret["code-secret"]),
        erin=dict(permission_url=stage.url("/device/auth"), token_url=token, oauth2_scope=scope, oauth2_flow="device", client_id="device"),
        grace=dict(token_url=stage.url("/google/token"), oauth2_scope="https://mail.google.com/", oauth2_flow="service_account",
                   client_id="file", client_secret=stage.dir / "ca/service.json"),
    )
    return [(name + "@real.test", known["alice" if name.startswith("crowd") else name]) for name in names]
