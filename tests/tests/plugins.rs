//! Plugins in the built program: what they do, what becomes of faulty ones, and that other sessions notice nothing.
#![cfg(feature = "end-to-end")]

use harness::{
    end_to_end::{Flow, Runtime, World},
    over_both_runtimes,
};
use rustix::process::Signal;
use sandbox::Protocol;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Imap, Protocol::Pop, Protocol::Smtp];
const PATIENCE: Duration = Duration::from_secs(60);

/// Misbehaves when it is told to.
const TRIAL: &str = "local failures = 0
function on_command(text, command)
  if command.name == 'XLOOP' then
    while true do end
  elseif command.name == 'XEAT' then
    local t = {}
    while true do t[#t + 1] = ('x'):rep(1000000) .. #t end
  elseif command.name == 'XFAIL' then
    failures = failures + 1
    if failures == 3 then error('the third one') end
    return false, 'OK once more'
  end
end
";

over_both_runtimes! {
    faulty_scripts_end_their_own_session
    sessions_with_plugins_work_to_their_end
    scripts_are_read_again
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The session concerned ends, the log says where the mistake is, and a hundred others go on.
fn faulty_scripts_end_their_own_session(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password)
        .plugin("trial.lua max_memory=16M", TRIAL)
        .start();
    let mut others: Vec<_> = (0..100)
        .map(|number| world.opened(PROTOCOLS[number % 3]))
        .collect();

    let mut looping = world.opened(Protocol::Imap);
    looping.send("b1 XLOOP\r\n");
    for client in &mut others {
        client.work();
    }
    assert_eq!(looping.rest(), b"");

    let mut eating = world.opened(Protocol::Imap);
    eating.send("b1 XEAT\r\n");
    assert_eq!(eating.rest(), b"");

    let mut failing = world.opened(Protocol::Imap);
    for answer in ["b1 OK once more", "b2 OK once more"] {
        failing.send(format!("{} XFAIL\r\n", &answer[..2]));
        assert_eq!(failing.line(), answer);
    }
    failing.send("b3 XFAIL\r\n");
    assert_eq!(failing.rest(), b"");

    for line in [
        "the plugin trial.lua failed: trial.lua:4: it took more than 1000 ms",
        "the plugin trial.lua failed: not enough memory",
        "the plugin trial.lua failed: trial.lua:10: the third one",
    ] {
        until(line, || world.said().contains(line));
    }
    for client in &mut others {
        client.work();
    }
    drop(others);
    world.end();
}

/// Logins, work and the end are as without plugins; the authenticator hears of each session's end.
fn sessions_with_plugins_work_to_their_end(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password)
        .plugin(
            "whole.lua",
            "function on_command() end function on_response() end function on_message() end",
        )
        .plugin("raw.lua", "function from_server(bytes) return bytes end")
        .start();
    for protocol in PROTOCOLS {
        for _ in 0..2 {
            let mut client = world.opened(protocol);
            client.work();
            client.close_write();
            client.rest();
        }
    }
    assert_eq!(world.grants(), ["password"]);
    until("the last session's end", || {
        world.said().matches("finished").count() == 6
    });
    world.end();
}

/// SIGHUP takes changed scripts over for new sessions; a broken one changes nothing.
fn scripts_are_read_again(runtime: Runtime) {
    let world = World::with(runtime, Flow::Password)
        .plugin(
            "tell.lua",
            "function on_command(text, c) if c.name == 'XTELL' then return false, 'OK first' end end",
        )
        .start();
    let path = world.sandbox.folder().join("tell.lua");
    let tell = |client: &mut harness::end_to_end::Client| {
        client.send("b1 XTELL\r\n");
        client.line()
    };
    let mut old = world.opened(Protocol::Imap);
    assert_eq!(tell(&mut old), "b1 OK first");

    let source = fs::read_to_string(&path).unwrap();
    fs::write(&path, source.replace("first", "second")).unwrap();
    world.signal(Signal::HUP);
    until("the reload", || world.said().contains("was read again"));
    assert_eq!(tell(&mut old), "b1 OK first");
    assert_eq!(tell(&mut world.opened(Protocol::Imap)), "b1 OK second");

    fs::write(&path, "\nfunction on_command(").unwrap();
    world.signal(Signal::HUP);
    until("the refusal", || {
        world.said().contains("was not taken over")
    });
    assert!(world.said().contains("tell.lua:2: "), "{}", world.said());
    assert_eq!(tell(&mut world.opened(Protocol::Imap)), "b1 OK second");
    world.end();
}
