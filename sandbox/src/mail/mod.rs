//! The mail servers: one conversation per connection, over [`wire::Wire`].

mod imap;
pub(crate) mod mailbox;
mod mime;
mod pop;
mod samples;
mod sasl;
mod smtp;
mod wire;

use crate::{Protocol, Service, shared::Shared};
use async_io::Async;
use std::{io, net::TcpStream, sync::Arc};
use wire::Wire;

/// Serves one connection.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    service: Service,
    number: u64,
    stream: Async<TcpStream>,
) -> io::Result<()> {
    let protocol = match service {
        Service::Imaps | Service::Imap => Protocol::Imap,
        Service::Pops | Service::Pop => Protocol::Pop,
        Service::Smtps | Service::Submission => Protocol::Smtp,
        Service::Provider => return Err(io::ErrorKind::Unsupported.into()),
    };
    let mut wire = Wire::open(shared, service, protocol, number, stream).await?;
    let result = match protocol {
        Protocol::Imap => imap::converse(&mut wire).await,
        Protocol::Pop => pop::converse(&mut wire).await,
        Protocol::Smtp => smtp::converse(&mut wire).await,
    };
    wire.close().await;
    result
}
