//! Programs that are run for the user: never through a shell, and not for ever.

use crate::messages::{common, consent as texts};
use async_io::Timer;
use futures_lite::{AsyncRead, AsyncReadExt, FutureExt, future};
use smol::process::{Child, Command, Stdio};
use std::{io, time::Duration};

/// What is kept of a program's output, in octets.
const OUTPUT: usize = 4 * 1024;
/// How long output may come after the end: something it has started may hold the pipe.
const REST: Duration = Duration::from_millis(500);
/// Variables by which systemd speaks with the proxy alone.
const NOT_INHERITED: [&str; 5] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
];

/// Splits a command line into words as a POSIX shell does (blanks, quotes, backslashes). Nothing else of a shell is there: no
/// variables, no patterns, no pipes.
///
/// # Errors
///
/// A quote that is not closed, or no word at all.
pub fn words(line: &str) -> Result<Vec<String>, &'static str> {
    match shlex::split(line) {
        Some(words) if !words.is_empty() => Ok(words),
        Some(_) => Err(texts::NO_PROGRAM),
        None => Err(texts::OPEN_QUOTE),
    }
}

/// Runs a program to its end, or for this long; gives its output, the beginning of it if there is much.
///
/// # Errors
///
/// One line that says what has become of it.
pub(super) async fn run(
    words: &[String],
    environment: &[(&'static str, String)],
    time: Duration,
) -> Result<String, String> {
    let mut command = command(words, environment)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_run(words, &error))?;
    let mut kept = (Vec::new(), Vec::new());
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let ended = {
        let reading = future::zip(read(out, &mut kept.0), read(err, &mut kept.1));
        let mut reading = std::pin::pin!(reading);
        let status = async {
            let status = child.status();
            // Whoever writes more than a pipe holds waits for us to read.
            let forever = async {
                (&mut reading).await;
                future::pending().await
            };
            Some(status.or(forever).await)
        };
        let late = async {
            Timer::after(time).await;
            None
        };
        let ended = status.or(late).await;
        if ended.is_some() {
            let rest = async {
                Timer::after(REST).await;
                ((), ())
            };
            reading.or(rest).await;
        }
        ended
    };
    let output = [
        &*String::from_utf8_lossy(&kept.0),
        &*String::from_utf8_lossy(&kept.1),
    ]
    .concat();
    match ended {
        Some(Ok(status)) if status.success() => Ok(output),
        Some(Ok(status)) => Err(texts::program_failed_saying(
            &words[0],
            status,
            one_line(&output),
        )),
        Some(Err(error)) => Err(not_run(words, &error)),
        None => {
            end(&mut child);
            Err(texts::program_ended(
                &words[0],
                time.as_secs(),
                one_line(&output),
            ))
        }
    }
}

/// Starts a program that may go on for as long as it likes, such as a browser. What goes wrong within `time` is told.
///
/// # Errors
///
/// One line that says what has become of it.
pub(super) async fn start(words: &[String], time: Duration) -> Result<(), String> {
    let mut command = command(words, &[])?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| not_run(words, &error))?;
    let late = async {
        Timer::after(time).await;
        None
    };
    let status = async { Some(child.status().await) };
    match status.or(late).await {
        None => Ok(()),
        Some(Ok(status)) if status.success() => Ok(()),
        Some(Ok(status)) => Err(texts::program_failed(&words[0], status)),
        Some(Err(error)) => Err(not_run(words, &error)),
    }
}

fn command(words: &[String], environment: &[(&'static str, String)]) -> Result<Command, String> {
    let (program, arguments) = words.split_first().ok_or(texts::NO_PROGRAM)?;
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    for name in NOT_INHERITED {
        command.env_remove(name);
    }
    for (name, value) in environment {
        // No variable can hold it.
        command.env(name, value.replace('\0', " "));
    }
    // A group of its own: it is ended with all that it has started, and Ctrl-C at our terminal is not for it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut command = Command::from(command);
    command.stdin(Stdio::null());
    Ok(command)
}

fn end(child: &mut Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    // It may have ended this moment.
    let _ = child.kill();
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let room = OUTPUT.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
    }
}

fn not_run(words: &[String], error: &io::Error) -> String {
    common::cannot_be_run(&words[0], error)
}

/// Output on one line.
pub(super) fn one_line(output: &str) -> String {
    let words: Vec<&str> = output.split_whitespace().collect();
    if words.is_empty() {
        return texts::SAID_NOTHING.to_owned();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LONG: Duration = Duration::from_secs(60);

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    #[test]
    fn a_line_is_split_as_a_shell_splits_it_and_nothing_is_expanded() {
        let words = words(r#"/opt/my\ tool --say "a $HOME; b" '*.c' | x"#).unwrap();
        assert_eq!(
            words,
            ["/opt/my tool", "--say", "a $HOME; b", "*.c", "|", "x"]
        );
        for wrong in ["", "   ", "a 'b", "a \"b", "a\\"] {
            assert!(super::words(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn output_and_variables_pass() {
        let variables = [("EMAILPROXY_URL", "a;b $(c)\0d".to_owned())];
        let output = smol::block_on(run(
            &sh("echo \"$EMAILPROXY_URL\"; echo seen >&2"),
            &variables,
            LONG,
        ));
        assert_eq!(output.as_deref(), Ok("a;b $(c) d\nseen\n"));
    }

    #[test]
    fn failures_say_what_the_program_said() {
        let failed = smol::block_on(run(&sh("echo no way >&2; exit 3"), &[], LONG)).unwrap_err();
        assert!(
            failed.starts_with("sh has failed (exit status: 3): no way"),
            "{failed}"
        );
        let missing = ["/nonexistent/program".to_owned()];
        let failed = smol::block_on(run(&missing, &[], LONG)).unwrap_err();
        assert!(
            failed.starts_with("/nonexistent/program cannot be run: "),
            "{failed}"
        );
    }

    #[test]
    fn much_output_neither_stops_the_program_nor_is_kept() {
        let script = sh(
            "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789; i=$((i+1)); done",
        );
        let output = smol::block_on(run(&script, &[], LONG)).unwrap();
        assert_eq!(output.len(), OUTPUT);
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = sh(&format!("sleep 600 & echo $! > {}; wait", pid.display()));
        smol::block_on(async {
            let running = run(&script, &[], Duration::from_millis(300));
            let failed = running.await.unwrap_err();
            assert!(failed.contains("was ended"), "{failed}");
        });
        let pid: i32 = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        let begun = Instant::now();
        // Until its new parent has taken note of its end.
        while rustix::process::test_kill_process(pid).is_ok() && !is_zombie(pid) {
            assert!(begun.elapsed() < LONG, "it goes on");
            std::thread::yield_now();
        }
    }

    fn is_zombie(pid: rustix::process::Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn something_left_behind_goes_on_and_is_not_waited_for() {
        let output = smol::block_on(run(&sh("sleep 600 & echo $!"), &[], LONG)).unwrap();
        let pid = rustix::process::Pid::from_raw(output.trim().parse().unwrap()).unwrap();
        rustix::process::test_kill_process(pid).expect("it goes on");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}
