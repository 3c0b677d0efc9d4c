//! No reactor of our own.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpStream},
    task::{Context, Poll},
    time::Instant,
};

pub(crate) enum Reactor {}

impl Reactor {
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn block_on<T>(self, _: impl Future<Output = T>) -> T {
        match self {}
    }
}

pub(crate) enum Registration {}

impl Registration {
    pub(crate) fn new(_: &TcpStream) -> Option<Self> {
        None
    }

    pub(crate) async fn connect(_: SocketAddr) -> Option<io::Result<(TcpStream, Self)>> {
        None
    }

    pub(crate) fn poll_read<T>(
        &self,
        _: &mut Context<'_>,
        _: impl FnMut() -> io::Result<(T, bool)>,
    ) -> Poll<io::Result<T>> {
        match *self {}
    }

    pub(crate) fn poll_write<T>(
        &self,
        _: &mut Context<'_>,
        _: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match *self {}
    }

    pub(crate) fn rest(&self, _: &Context<'_>) {
        match *self {}
    }
}

pub(crate) enum Alarm {}

impl Alarm {
    pub(crate) fn new() -> Option<Self> {
        None
    }

    pub(crate) fn set(&mut self, _: Option<Instant>) {
        match *self {}
    }

    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        match *self {}
    }
}
