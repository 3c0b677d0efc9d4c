"""Large messages byte for byte, and what an open session sees when the proxy is told to end."""
import base64, os, re, signal, socket, threading, time, uuid

from checks import need
from proxy import Proxy, accounts, servers

USER = "alice@real.test"


class Wire:
    """A client that sends and reads lines itself."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.file = self.socket.makefile("rb")

    def say(self, *lines):
        self.socket.sendall("".join(line + "\r\n" for line in lines).encode())

    def line(self):
        return self.file.readline().decode("utf-8", "replace").rstrip("\r\n")

    def until(self, pattern):
        """Reads lines up to the first that matches; all of them."""
        lines = []
        while True:
            raw = self.file.readline()
            need(raw, "closed while waiting for %r; got %r" % (pattern, lines[-3:]))
            lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
            if re.search(pattern, lines[-1]):
                return lines

    def close(self):
        self.file.close()
        self.socket.close()


def imap(stage, port, user=USER):
    wire = Wire(port)
    wire.until(r"^\* OK")
    wire.say('a1 LOGIN %s "%s"' % (user, stage.accounts[user]))
    need(wire.until("^a1 ")[-1].startswith("a1 OK"), "login refused")
    return wire


def pop(stage, port):
    wire = Wire(port)
    wire.until(r"^\+OK")
    wire.say("USER " + USER)
    wire.until(r"^\+OK")
    wire.say("PASS " + stage.accounts[USER])
    need(wire.line().startswith("+OK"), "login refused")
    return wire


def smtp(stage, port):
    wire = Wire(port)
    wire.until("^220 ")
    wire.say("EHLO test")
    wire.until("^250 ")
    wire.say("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (USER, stage.accounts[USER])).encode()).decode())
    need(wire.line().startswith("235"), "login refused")
    return wire


def run(report, stage, binary):
    ports, parts = servers(stage)
    with Proxy(stage, binary, "traffic", parts, accounts(stage, ["alice"])) as proxy:
        if not report.check("traffic start", lambda: proxy.start().said()[:0]):
            return
        report.check("traffic 25 MB down by IMAP", imap_down, stage, ports)
        report.check("traffic 25 MB down by POP", pop_down, stage, ports)
        report.check("traffic 8 MB up by IMAP", imap_up, stage, ports)
        for name in ("smtp", "smtp_starttls"):
            report.check("traffic 8 MB up by %s" % name.replace("_", " "), smtp_up, stage, ports[name])
        report.check("traffic both ways at once", both_ways, stage, ports)
        report.check("end in the middle of a FETCH", end_in_fetch, stage, ports, proxy)


def imap_down(stage, ports):
    wire = imap(stage, ports["imap"])
    got = fetch_big(wire)
    want = stage.big
    need(got == want, "%d octets differ from the %d in the mailbox" % (len(got), len(want)))
    wire.close()
    return "%d octets alike" % len(got)


def fetch_big(wire):
    wire.say("a2 SELECT INBOX")
    wire.until("^a2 OK")
    wire.say("a3 SEARCH LARGER 10000000")
    number = re.search(r"SEARCH (\d+)", "\n".join(wire.until("^a3 OK")))[1]
    wire.say("a4 FETCH %s (BODY.PEEK[])" % number)
    size = int(re.search(r"\{(\d+)\}$", wire.until(r"\{\d+\}$")[-1])[1])
    body = wire.file.read(size)
    wire.until("^a4 OK")
    return body


def pop_down(stage, ports):
    wire = pop(stage, ports["pop"])
    wire.say("LIST")
    number = next(line.split()[0] for line in wire.until(r"^\.$") if line[:1].isdigit() and int(line.split()[1]) > 10_000_000)
    wire.say("RETR " + number)
    need(wire.line().startswith("+OK"), "RETR")
    lines = []
    for line in iter(wire.file.readline, b".\r\n"):
        need(line, "closed in the message")
        lines.append(line[1:] if line.startswith(b".") else line)
    got, want = b"".join(lines), stage.big
    need(got == want, "%d octets differ from the %d in the mailbox" % (len(got), len(want)))
    wire.close()
    return "%d octets alike" % len(got)


def large(mark):
    """8 MB with lines that begin with dots."""
    lines = base64.encodebytes(os.urandom(5_900_000)).splitlines()
    lines[::1000] = [b"." * (1 + i % 3) + line for i, line in enumerate(lines[::1000])]
    head = "Subject: %s\r\nFrom: %s\r\nTo: %s\r\n\r\n" % (mark, USER, USER)
    return head.encode() + b"\r\n".join(lines) + b"\r\n"


def imap_up(stage, ports):
    wire, message = imap(stage, ports["imap"]), large(uuid.uuid4().hex)
    wire.say("a2 APPEND Drafts {%d}" % len(message))
    wire.until(r"^\+")
    wire.socket.sendall(message + b"\r\n")
    wire.until("^a2 OK")
    wire.say("a3 SELECT Drafts")
    count = re.search(r"\* (\d+) EXISTS", "\n".join(wire.until("^a3 OK")))[1]
    wire.say("a4 FETCH %s (BODY.PEEK[])" % count)
    size = int(re.search(r"\{(\d+)\}$", wire.until(r"\{\d+\}$")[-1])[1])
    got = wire.file.read(size)
    need(got == message, "what came back differs (%d octets, sent %d)" % (len(got), len(message)))
    wire.close()
    return "%d octets alike" % len(got)


def smtp_up(stage, port):
    mark = uuid.uuid4().hex
    wire, message = smtp(stage, port), large(mark)
    wire.say("MAIL FROM:<%s>" % USER)
    wire.until("^250 ")
    wire.say("RCPT TO:<%s>" % USER)
    wire.until("^250 ")
    wire.say("DATA")
    wire.until("^354 ")
    wire.socket.sendall(re.sub(rb"(?m)^\.", b"..", message) + b".\r\n")
    wire.until("^250 ")
    wire.close()
    path = stage.arrived(USER, mark)
    need(path, "not delivered")
    stored = path.read_bytes().replace(b"\r\n", b"\n")  # Dovecot stores mail that came by LMTP with bare LF
    want = message.replace(b"\r\n", b"\n")
    need(stored.endswith(want), "the delivered message differs (%d octets, sent %d)" % (len(stored), len(want)))
    return "%d octets alike" % len(message)


def both_ways(stage, ports):
    """Four sessions load the big message while four others send."""
    errors, jobs = [], []

    def job(function, *arguments):
        def work():
            try:
                function(*arguments)
            except Exception as error:
                errors.append("%s: %s" % (function.__name__, error))
        jobs.append(threading.Thread(target=work))

    for _ in range(2):
        job(imap_down, stage, ports)
        job(pop_down, stage, ports)
        job(imap_up, stage, ports) if not jobs[3:] else job(smtp_up, stage, ports["smtp"])
        job(smtp_up, stage, ports["smtp_starttls"])
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join(120)
    need(not errors, "; ".join(errors)[:300])


def end_in_fetch(stage, ports, proxy):
    """SIGTERM: sessions before login get their protocol's farewell; one in a message gets the message's bytes and nothing else."""
    before = [(Wire(ports["imap"]), r"^\* OK", r"^\* BYE"), (Wire(ports["pop"]), r"^\+OK", r"^-ERR \[SYS/TEMP\]"), (Wire(ports["smtp"]), "^220 ", "^421 ")]
    for wire, greeting, _ in before:
        wire.until(greeting)
    wire = imap(stage, ports["imap"])
    wire.say("a2 SELECT INBOX")
    wire.until("^a2 OK")
    wire.say("a3 SEARCH LARGER 10000000")
    number = re.search(r"SEARCH (\d+)", "\n".join(wire.until("^a3 OK")))[1]
    wire.say("a4 FETCH %s (BODY.PEEK[])" % number)
    head = wire.until(r"\{\d+\}$")[-1]
    start = wire.file.read(100_000)
    proxy.send_signal(signal.SIGTERM)
    for other, _, farewell in before:
        other.until(farewell)
        need(other.file.read() == b"", "something follows the farewell")
        other.close()
    rest = wire.file.read()
    want = stage.big
    size = int(re.search(r"\{(\d+)\}$", head)[1])
    got = start + rest
    need(size == len(want) and got[:size] == want[:len(got)], "bytes that are not the message's: %r" % got[-80:])
    need(re.fullmatch(rb"(\)\r\n(a4 OK [^\r\n]*\r\n)?)?", got[size:]), "behind the message: %r" % got[size:][:100])
    code = proxy.process.wait(30)
    need(code == 0, "exit code %d" % code)
    wire.close()
    return "%d of %d octets before the end, exit code 0" % (min(len(got), size), size)
