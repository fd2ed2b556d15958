//! Where no request goes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use trunkline_http::{Addrs, Allow, Client, Failure, Name, Resolve, Resolving};
use trunkline_testkit::http::Server;

use crate::{post, status};

/// Says that every name leads to these addresses.
struct Says(Vec<IpAddr>);

impl Resolve for Says {
    fn resolve(&self, _: Name) -> Resolving {
        let found: Vec<_> = self.0.iter().map(|address| SocketAddr::new(*address, 0)).collect();
        Box::pin(async { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

fn says(addresses: &[&str]) -> Arc<Says> {
    Arc::new(Says(addresses.iter().map(|address| address.parse().unwrap()).collect()))
}

async fn refusal(client: &Client, url: &str) -> String {
    match post(client, url).await.unwrap_err() {
        Failure::Refused(refused) => refused.to_string(),
        other => panic!("{url}: {other}"),
    }
}

#[tokio::test]
async fn addresses_in_urls_are_checked_however_they_are_written() {
    let mut server = Server::start(|_| async { status(200, "") }).await;
    let port = server.address.port();
    let client = Client::new(Allow::public(), None).unwrap();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "[::]",
        "[::7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
    ] {
        let said = refusal(&client, &format!("http://{host}:{port}/")).await;
        assert!(said.ends_with(", and no request goes there"), "{said}");
    }
    assert!(server.heard().is_empty());
    assert_eq!(
        refusal(&client, "http://0x7f.1/").await,
        "the address 127.0.0.1 of `127.0.0.1` is private, and no request goes there"
    );
}

#[tokio::test]
async fn addresses_that_names_lead_to_are_checked_when_they_are_connected_to() {
    let mut server = Server::start(|_| async { status(200, "") }).await;
    let port = server.address.port();
    let url = format!("http://innocent.example:{port}/");
    for (addresses, allow, expected) in [
        (
            &["127.0.0.1"][..],
            Allow::public(),
            "the address 127.0.0.1 of `innocent.example` is private, and no request goes there",
        ),
        (
            &["10.0.0.1", "127.0.0.1"],
            Allow::public(),
            "the address 10.0.0.1 of `innocent.example` is private, and no request goes there",
        ),
        (
            &["169.254.169.254"],
            Allow::private(),
            "the address 169.254.169.254 of `innocent.example` is link-local or a metadata service, and no request goes there",
        ),
        (
            &["::ffff:169.254.169.254"],
            Allow::private(),
            "the address ::ffff:169.254.169.254 of `innocent.example` is link-local or a metadata service, and no request goes there",
        ),
    ] {
        let client = Client::with_resolver(allow, None, says(addresses)).unwrap();
        assert_eq!(refusal(&client, &url).await, expected);
    }
    assert!(server.heard().is_empty());
    // Of several addresses only those that are allowed are connected to.
    let client = Client::with_resolver(Allow::private(), None, says(&["169.254.169.254", "127.0.0.1"])).unwrap();
    assert_eq!(post(&client, &url).await.unwrap().status, 200);
    let client = Client::with_resolver(Allow::public().with("127.0.0.0/8".parse().unwrap()), None, says(&["127.0.0.1"]));
    assert_eq!(post(&client.unwrap(), &url).await.unwrap().status, 200);
    assert_eq!(server.heard().len(), 2);
}

#[tokio::test]
async fn the_name_of_this_machine_is_no_way_around_and_is_reached_when_it_may_be() {
    let server = Server::start(|_| async { status(200, "") }).await;
    let url = format!("http://localhost:{}/", server.address.port());
    let said = refusal(&Client::new(Allow::public(), None).unwrap(), &url).await;
    assert!(said.ends_with("of `localhost` is private, and no request goes there"), "{said}");
    assert_eq!(post(&Client::new(Allow::private(), None).unwrap(), &url).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_redirect_is_an_answer_like_others_and_leads_nowhere() {
    let mut server = Server::start(|_| async {
        let mut answer = status(307, "");
        answer.headers_mut().insert("location", "http://169.254.169.254/".parse().unwrap());
        answer
    })
    .await;
    let client = Client::new(Allow::private(), None).unwrap();
    let answer = post(&client, &format!("http://{}/", server.address)).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("location")), (307, Some("http://169.254.169.254/")));
    assert_eq!(server.heard().len(), 1);
}
