//! The anchor: the same HTTP stack answering a constant, in a process of its own.

use std::{io::Read, net::Ipv4Addr};

use axum::{
    Router,
    body::Bytes,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{get, post},
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::oneshot};

/// Serves until the harness that started it is gone, which closes standard input.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it a measurement is slower; it is not worth failing for.
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/status/ready", get(async || StatusCode::OK))
        .route("/api/events", post(async |body: Bytes| answer(StatusCode::ACCEPTED, &body, r#"{"ok":true,"offset":1234567}"#)))
        .route(
            "/webhooks/rest/webhook",
            post(async |body: Bytes| answer(StatusCode::OK, &body, r#"[{"recipient_id":"s017","text":"hello there"}]"#)),
        );
    let (gone, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = gone.send(());
    });
    tokio::select! {
        result = axum::serve(listener, router) => result?,
        _ = wait => {}
    }
    Ok(())
}

/// The constant, once the whole body has been read.
fn answer(status: StatusCode, _body: &Bytes, constant: &'static str) -> impl IntoResponse + use<> {
    (status, [(CONTENT_TYPE, "application/json")], constant)
}
