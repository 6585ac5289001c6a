//! The console's own files, compiled in.

use axum::http::{Method, header};
use axum::response::IntoResponse as _;
use axum::routing::get;

use crate::admin::access::Access;
use crate::admin::api::{Route, route};

/// Path, media type and content. The script htmx is of its authors (0BSD).
const FILES: [(&str, &str, &str); 4] = [
    ("/assets/console.css", "text/css; charset=utf-8", include_str!("assets/console.css")),
    ("/assets/console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    (
        "/assets/htmx.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/htmx-2.0.11.min.js"),
    ),
    ("/assets/mark.svg", "image/svg+xml", include_str!("assets/mark.svg")),
];

pub(super) fn routes() -> Vec<Route> {
    let file = |(path, kind, content): (&'static str, &'static str, &'static str)| {
        let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
        let show = get(move || async move { (headers, content).into_response() });
        route(Method::GET, path, Access::Open, show)
    };
    FILES.map(file).into()
}
