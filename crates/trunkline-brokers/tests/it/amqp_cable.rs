//! A way to a server that can be slow, silent, and cut.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::amqp_common::Place;

/// What is under way when it is cut is lost; what comes after goes through.
pub(crate) struct Cable {
    port: u16,
    cut: watch::Sender<()>,
    is_silent: watch::Sender<bool>,
    /// How many bytes of what we say may still go through.
    room: watch::Sender<usize>,
}

impl Cable {
    pub(crate) async fn to(place: &Place) -> Self {
        Self::slow(place, Duration::ZERO).await
    }

    /// One on which what the server says takes `delay` longer.
    pub(crate) async fn slow(place: &Place, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cable, server) = (listener.local_addr().unwrap().port(), place.port);
        let (cut, is_cut) = watch::channel(());
        let (is_silent, silence) = watch::channel(false);
        let room = watch::Sender::new(usize::MAX);
        let left = room.clone();
        tokio::spawn(async move {
            while let Ok((ours, _)) = listener.accept().await {
                let (mut is_cut, silence, left) = (is_cut.clone(), silence.clone(), left.clone());
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    let theirs = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                    tokio::select! {
                        _ = carry(ours, theirs, delay, silence, &left) => {}
                        _ = is_cut.changed() => {}
                    }
                });
            }
        });
        Self { port: cable, cut, is_silent, room }
    }

    /// The section for a place, with the cable in between.
    pub(crate) fn yaml(&self, place: &Place, more: &str) -> String {
        place.yaml(more).replace(&format!(":{}", place.port), &format!(":{}", self.port))
    }

    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    /// Whether what the server says is held back.
    pub(crate) fn set_silent(&self, is_silent: bool) {
        self.is_silent.send_replace(is_silent);
    }

    /// Holds back what we say when it has been so many bytes more.
    pub(crate) fn hold_after(&self, bytes: usize) {
        self.room.send_replace(bytes);
    }
}

/// Carries what both say, until one of them ends.
async fn carry(
    ours: TcpStream,
    theirs: TcpStream,
    delay: Duration,
    mut silence: watch::Receiver<bool>,
    room: &watch::Sender<usize>,
) -> io::Result<()> {
    let ((from_us, mut to_us), (mut from_them, mut to_them)) = (ours.into_split(), theirs.into_split());
    let there = async {
        let (mut said, mut left) = (vec![0; 1 << 16], room.subscribe());
        loop {
            // Nothing is taken before it is known how much of it may go through.
            from_us.readable().await?;
            let most = (*left.wait_for(|left| *left > 0).await.map_err(io::Error::other)?).min(said.len());
            let length = match from_us.try_read(&mut said[..most]) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            to_them.write_all(&said[..length]).await?;
            room.send_modify(|left| *left = left.saturating_sub(length));
        }
    };
    let back = async {
        let mut said = vec![0; 1 << 16];
        loop {
            let length = from_them.read(&mut said).await?;
            if length == 0 {
                return Ok(());
            }
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            silence.wait_for(|is_silent| !is_silent).await.map_err(io::Error::other)?;
            to_us.write_all(&said[..length]).await?;
        }
    };
    tokio::select! {
        carried = there => carried,
        carried = back => carried,
    }
}
