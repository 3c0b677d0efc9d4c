"""Starts that cannot work, and changes while it runs."""
import os, pathlib, shutil, signal, socket, subprocess

from checks import Skip, need
from proxy import Proxy, accounts, sections, servers
from stage import free_ports
from traffic import Wire, imap


def run(report, stage, binary):
    report.check("start: --version, --help", information, stage, binary)
    report.check("start: port in use", port_in_use, stage, binary)
    report.check("start: port forbidden", port_forbidden, stage, binary)
    wrong = [
        ("no such file", None, r"emailproxy\.config"),
        ("a line that is neither", "[IMAP-1993]\nserver_address = a\nnonsense here\n", r"emailproxy\.config.*\b3\b"),
        ("an option twice", "[IMAP-1993]\nserver_port = 1\nserver_port = 2\n", r"emailproxy\.config.*\b3\b"),
        ("an option before any section", "server_port = 1\n", r"emailproxy\.config.*\b1\b"),
        ("not UTF-8", b"[IMAP-1993]\n# caf\xe9\n", r"(?i)emailproxy\.config.*UTF-8"),
        ("empty", "", r"(?i)server"),
        ("a port that is none", "[IMAP-99999]\nserver_address = localhost\nserver_port = 993\n", "IMAP-99999"),
        ("nothing left to serve", "[IMAP-1993]\nserver_port = 993\n", "server_address"),
    ]
    for title, text, says in wrong:
        report.check("start: configuration: " + title, wrong_configuration, stage, binary, title, text, says)
    report.check("start: an unusable account is left out", left_out, stage, binary)
    report.check("start: an option it does not know", unknown_option, stage, binary)
    report.check("while it runs: SIGHUP, SIGUSR1, SIGINT", reload, stage, binary)


def bare(stage, binary, name, parts):
    return Proxy(stage, binary, name, parts, accounts(stage, ["alice"]))


def information(stage, binary):
    for option in ("--version", "--help"):
        done = subprocess.run([binary, option], capture_output=True, text=True, timeout=20, cwd=stage.dir, stdin=subprocess.DEVNULL)
        need(done.returncode == 0 and done.stdout.strip(), "%s: code %d, %r" % (option, done.returncode, done.stdout))
    for option in "--no-gui --external-auth --local-server-auth --config-file --cache-store --log-file --debug".split():
        need(option in done.stdout, "--help does not mention " + option)


def port_in_use(stage, binary):
    ports, parts = servers(stage, ["imap", "pop"])
    with socket.socket() as taken, bare(stage, binary, "in-use", parts) as proxy:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", ports["pop"]))
        taken.listen()
        code = proxy.launch().ended()
        need(code == 2, "exit code %d" % code)
        line = next((line for line in proxy.said().splitlines() if str(ports["pop"]) in line and "use" in line), None)
        need(line, "the port is not named: " + proxy.said()[-300:])
        return line.strip()[-120:]


def port_forbidden(stage, binary):
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first < 2:
        return "not tried: on this machine everybody may listen on every port"
    ports, parts = servers(stage, ["imap"])
    port = first - 31
    parts = [("IMAP-%d" % port, parts[0][1])]
    with bare(stage, binary, "forbidden", parts) as proxy:
        prefix, program = [], binary
        if os.geteuid() == 0:
            if not shutil.which("setpriv"):
                raise Skip("needs setpriv (util-linux)")
            program = proxy.home / "program"  # where it is built others may not look
            shutil.copy(binary, program)
            program.chmod(0o755)
            for path in (proxy.home, *proxy.home.iterdir()):
                os.chown(path, 65534, 65534)
            prefix = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        proxy.binary = program
        code = proxy.launch(prefix=prefix).ended()
        need(code == 2, "exit code %d: %s" % (code, proxy.said()[-300:]))
        line = next((line for line in proxy.said().splitlines() if str(port) in line), None)
        need(line, "the port is not named: " + proxy.said()[-300:])
        return line.strip()[-120:]


def wrong_configuration(stage, binary, title, text, says):
    with Proxy(stage, binary, "wrong-" + title.replace(" ", "-"), [], [], text="") as proxy:
        if text is None:
            proxy.config.unlink()
        elif isinstance(text, bytes):
            proxy.config.write_bytes(text)
        else:
            proxy.config.write_text(text)
        code = proxy.launch().ended()
        said = proxy.said().strip()
        need(code == 2, "exit code %d: %s" % (code, said[-300:]))
        proxy.wait_said(says, seconds=1)
        need("panicked" not in said, said[-300:])
        return next((line for line in said.splitlines() if proxy.config.name in line), said.splitlines()[-1])[-120:]


def left_out(stage, binary):
    ports, parts = servers(stage, ["imap"])
    broken = [("broken@real.test", dict(oauth2_scope="mail", oauth2_flow="password", client_id="ropc"))]
    with Proxy(stage, binary, "left-out", parts, accounts(stage, ["alice"]) + broken) as proxy:
        proxy.start()
        imap(stage, ports["imap"]).close()
        found = proxy.wait_said(r".*broken@real\.test.*token_url.*|.*token_url.*broken@real\.test.*", seconds=2)
        need(proxy.end() == 0, "exit code")
        return found[0].strip()[-120:]


def unknown_option(stage, binary):
    ports, parts = servers(stage, ["imap"])
    parts[0][1]["server_adress"] = "localhost"
    with bare(stage, binary, "unknown", parts) as proxy:
        proxy.start()
        found = proxy.wait_said(r".*emailproxy\.config:5\b.*unknown option.*server_address.*", seconds=2)
        need(proxy.end() == 0, "exit code")
        return found[0].strip()[-120:]


def reload(stage, binary):
    ports, parts = servers(stage, ["imap"])
    with bare(stage, binary, "reload", parts) as proxy:
        proxy.start()
        open_session = imap(stage, ports["imap"])
        whole = proxy.config.read_text()
        more, added = servers(stage, ["imap"])
        proxy.config.write_text(whole + "\n" + sections(added))
        proxy.send_signal(signal.SIGHUP)
        proxy.wait_listening([more["imap"]])
        imap(stage, more["imap"]).close()
        since = len(proxy.said())
        proxy.config.write_text("[IMAP-1\nbroken")
        proxy.send_signal(signal.SIGHUP)
        proxy.wait_said(r"emailproxy\.config", since)
        imap(stage, more["imap"]).close()  # the configuration before goes on
        need("broken" in proxy.config.read_text(), "the broken file was overwritten")
        proxy.config.write_text(whole)
        proxy.send_signal(signal.SIGHUP)
        open_session.say("z1 NOOP")
        need(open_session.until("^z1 ")[-1].startswith("z1 OK"), "the open session ended")
        open_session.close()
        since = len(proxy.said())
        proxy.send_signal(signal.SIGUSR1)
        proxy.wait_said("(?i)debug", since)
        wire = Wire(ports["imap"])
        wire.until(r"^\* OK")
        wire.say("u1 NOOP")
        wire.until("^u1 ")
        proxy.wait_said("u1 NOOP", since)
        wire.close()
        code = proxy.end(signal.SIGINT)
        need(code == 0, "exit code %d after SIGINT" % code)
