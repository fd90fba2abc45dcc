//! HTTP as scrapers, probes and people use it.

use std::time::Duration;

use crate::client::{Client, deaf};
use crate::support::exporter::Exporter;
use crate::support::page::Page;
use crate::support::proc_tree::ProcTree;
use crate::support::{wait_for, wait_until};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn every_method_coding_and_path_has_its_answer() {
    let exporter = Exporter::start(&[]);
    let mut client = Client::new(exporter.address());

    let plain = client.get("/metrics", "");
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(plain.header("vary"), Some("Accept-Encoding"));
    let zipped = client.get("/metrics", "Accept-Encoding: gzip\r\n");
    assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
    assert!(zipped.body.len() * 2 < plain.body.len(), "{} of {}", zipped.body.len(), plain.body.len());
    let names = |response: &crate::support::http::Response| {
        let page = Page::parse(&response.text()).expect("a strict page");
        page.names().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(names(&plain), names(&zipped), "the same families either way");

    let head = client.ask("HEAD", "/metrics", "").expect("a head");
    assert_eq!(head.status, 200);
    let length: usize = head.header("content-length").expect("as GET has").parse().expect("a number");
    assert!(length > plain.body.len() / 2, "{length}, GET had {}", plain.body.len());
    // That no body followed shows in the next answer, which is whole.
    let healthy = client.get("/-/healthy", "");
    assert_eq!((healthy.status, healthy.text().as_str()), (200, "healthy\n"));

    assert_eq!(client.get("/metric", "").status, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let refused = client.ask(method, "/metrics", "").expect("an answer");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(client.get("/metrics?name[]=x", "").status, 200, "a query does not matter");

    let codes = Page::parse(&client.get("/metrics", "").text()).expect("a strict page");
    for (code, answers) in [("404", 1.0), ("405", 5.0), ("503", 0.0)] {
        assert_eq!(codes.expect("stall_exporter_http_requests_total", &[("code", code)]), answers, "{code}");
    }
}

#[test]
fn what_is_stuck_is_asked_for_like_a_scrape() {
    let exporter = Exporter::start(&[]);
    let mut client = Client::new(exporter.address());
    for (path, kind) in [("/stalls", "text/html; charset=utf-8"), ("/stalls.json", "application/json")] {
        let plain = client.get(path, "");
        assert_eq!((plain.status, plain.header("content-type")), (200, Some(kind)));
        assert_eq!(plain.header("cache-control"), Some("no-store"));
        let zipped = client.get(path, "Accept-Encoding: gzip\r\n");
        assert_eq!((zipped.status, zipped.header("content-encoding")), (200, Some("gzip")));
        let head = client.ask("HEAD", path, "").expect("a head");
        assert_eq!((head.status, head.header("content-type")), (200, Some(kind)));
        let refused = client.ask("POST", path, "").expect("an answer");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[test]
fn the_landing_page_is_html_and_its_links_work() {
    let exporter = Exporter::start(&[]);
    let page = exporter.get("/", &[]);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let text = page.text();
    assert!(text.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n") && text.ends_with("</html>\n"));
    let mut open = Vec::new();
    for tag in text.split('<').skip(1).filter(|tag| !tag.starts_with('!')) {
        let (inside, _text) = tag.split_once('>').expect("every tag is closed");
        let name = inside.split(' ').next().expect("a name");
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if name == "meta" => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, [""; 0], "every element ends");
    wait_for(SOON, "it is ready", || exporter.get("/-/ready", &[]).status == 200);
    let links: Vec<&str> =
        text.split("href=\"").skip(1).map(|rest| rest.split('"').next().expect("a quote")).collect();
    assert!(links.contains(&"/metrics"), "{links:?}");
    for link in links {
        assert_eq!(exporter.get(link, &[]).status, 200, "{link}");
    }
}

/// How: the first walk hangs in a FIFO until it is let go.
#[test]
fn readiness_begins_with_the_first_walk() {
    let tree = ProcTree::new();
    tree.invent(4242, 4242, "hung").fifo("4242/schedstat");
    // The lane must not be given up before it is let go.
    let procfs = ["--path.procfs", tree.path().to_str().expect("UTF-8"), "--probe.stuck-after", "60s"];
    let exporter = Exporter::start(&procfs);
    wait_for(SOON, "the first tick has ended", || exporter.get("/metrics", &[]).status == 200);
    let early = exporter.get("/-/ready", &[]);
    assert_eq!((early.status, early.text().as_str()), (503, "not ready: the first walk has not ended yet\n"));
    assert_eq!(exporter.get("/-/healthy", &[]).status, 200, "healthy all the same");
    wait_for(SOON, "the walk hangs and is let go", || tree.release("4242/schedstat", "1000 1000 1\n"));
    wait_for(SOON, "it is ready", || exporter.get("/-/ready", &[]).status == 200);
    assert_eq!(exporter.get("/-/ready", &[]).text(), "ready\n");
}

/// How: the only room is taken by a client that does not read; it loses it after a quarter of a second, so it may
/// take more than one of them until a good scrape comes just then.
#[test]
fn above_the_limit_scrapes_are_told_to_come_back() {
    let exporter = Exporter::start(&["--web.max-requests", "1"]);
    let mut client = Client::new(exporter.address());
    let mut held = Vec::new();
    let mut refused = None;
    wait_for(SOON, "a scrape is refused", || {
        held.push(deaf(exporter.address()));
        let answers = (0..100).map(|_| client.get("/metrics", ""));
        refused = answers.into_iter().find(|answer| answer.status != 200);
        refused.is_some()
    });
    let refused = refused.expect("it was waited for");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.text(), "1 requests like this are being answered already\n");
    assert_eq!(client.get("/-/healthy", "").status, 200, "only scrapes need room");
    // Between two of its answers a deaf client leaves its room for a moment, so the first good scrape need not be the
    // end of it.
    let page = wait_until(SOON, "the deaf are cut and have lost their room", || {
        let answer = client.get("/metrics", "");
        let page = (answer.status == 200).then(|| Page::parse(&answer.text()).expect("a strict page"))?;
        let cut = page.expect("stall_exporter_http_timeouts_total", &[("kind", "write")]) >= 1.0;
        cut.then_some(page)
    });
    assert!(page.expect("stall_exporter_http_requests_total", &[("code", "503")]) >= 1.0);
}
