use super::Reactor;
use crate::{
    stream::{Socket, Stream},
    timer::Timer,
};
use async_io::Async;
use futures_lite::{AsyncReadExt, AsyncWriteExt, future::yield_now};
use std::{
    future::poll_fn,
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    pin::Pin,
    task::Poll,
    thread,
    time::{Duration, Instant},
};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn stream(tcp: TcpStream) -> Stream {
    Stream::Plain(Socket::new(Async::new(tcp).unwrap()))
}

#[test]
fn other_threads_wake_it() {
    let (sender, receiver) = async_channel::bounded(1);
    let other = thread::spawn(move || {
        for number in 0..1_000 {
            sender.send_blocking(number).unwrap();
        }
    });
    let received = Reactor::new().unwrap().block_on(async {
        let mut sum = 0;
        while let Ok(number) = receiver.recv().await {
            sum += number;
        }
        sum
    });
    other.join().unwrap();
    assert_eq!(received, 499_500);
}

#[test]
fn the_end_is_found_though_it_came_with_the_last_bytes() {
    let (near, mut far) = pair();
    far.write_all(b"last").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    Reactor::new().unwrap().block_on(async {
        let mut near = stream(near);
        let mut bytes = [0; 100];
        assert_eq!(near.read(&mut bytes).await.unwrap(), 4);
        assert_eq!(near.read(&mut bytes).await.unwrap(), 0);
        assert_eq!(near.read(&mut bytes).await.unwrap(), 0);
    });
}

#[test]
fn bytes_that_come_one_by_one_are_all_announced() {
    let (near, mut far) = pair();
    let writing = thread::spawn(move || {
        for number in 0..5_000_u16 {
            far.write_all(&number.to_be_bytes()).unwrap();
        }
        far
    });
    Reactor::new().unwrap().block_on(async {
        let mut near = stream(near);
        for expected in 0..5_000_u16 {
            let mut bytes = [0; 2];
            near.read_exact(&mut bytes).await.unwrap();
            assert_eq!(u16::from_be_bytes(bytes), expected);
        }
    });
    drop(writing.join().unwrap());
}

#[test]
fn a_refused_connection_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Reactor::new()
        .unwrap()
        .block_on(Socket::connect(address))
        .err()
        .unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_connection_of_its_own_is_open_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Reactor::new().unwrap().block_on(async {
        let mut near = Stream::Plain(Socket::connect(address).await.unwrap());
        let mut far = stream(listener.accept().unwrap().0);
        near.write_all(b"to").await.unwrap();
        far.write_all(b"fro").await.unwrap();
        let (mut at_near, mut at_far) = ([0; 3], [0; 2]);
        near.read_exact(&mut at_near).await.unwrap();
        far.read_exact(&mut at_far).await.unwrap();
        assert_eq!((&at_near, &at_far), (b"fro", b"to"));
    });
}

#[test]
fn alarms_ring_once_and_not_before_their_time() {
    Reactor::new().unwrap().block_on(async {
        let began = Instant::now();
        let at = |millis| began + Duration::from_millis(millis);
        let mut timers = [Timer::at(at(30)), Timer::never(), Timer::at(at(10))];
        timers[1].set_at(at(20));
        let mut cleared = Timer::at(at(1));
        cleared.clear();
        let mut rung = Vec::new();
        poll_fn(|cx| {
            assert!(Pin::new(&mut cleared).poll(cx).is_pending());
            for (number, timer) in timers.iter_mut().enumerate() {
                if Pin::new(timer).poll(cx).is_ready() {
                    rung.push((number, Instant::now()));
                }
            }
            match rung.len() {
                3 => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
        // A thread that was kept from running finds several at once, so only who has rung is certain.
        rung.sort();
        let numbers: Vec<_> = rung.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2]);
        for (number, when) in rung {
            assert!(when >= at([30, 20, 10][number]));
        }
    });
}

#[test]
fn who_rests_is_woken_and_the_others_were_served_first() {
    let (near, mut far) = pair();
    let (busy, _busy_peer) = pair();
    let executor = smol::LocalExecutor::new();
    Reactor::new().unwrap().block_on(executor.run(async {
        let mut near = stream(near);
        let busy = stream(busy);
        let waiting = executor.spawn(async move {
            let mut byte = [0];
            near.read_exact(&mut byte).await.unwrap();
        });
        // Now the other task waits for its socket, and a moment later there is a byte in it.
        yield_now().await;
        far.write_all(b"x").unwrap();
        let mut rested = 0;
        while !waiting.is_finished() {
            let mut again = false;
            poll_fn(|cx| {
                if again {
                    return Poll::Ready(());
                }
                again = true;
                busy.rest(cx).unwrap();
                Poll::Pending
            })
            .await;
            rested += 1;
            assert!(rested <= 3, "the other one waits for longer than a turn");
        }
    }));
}
