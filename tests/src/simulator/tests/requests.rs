//! The record of requests, as the control API gives it.

use super::limits::LIST;
use super::*;

#[tokio::test]
async fn requests_are_recorded_while_recording_is_on() {
    let scene = scene(StatusCode::OK, 5).await;
    let (_, token) = scene.installed().await;
    let url = format!("{}/_sim/requests", scene.simulator.base_url());
    let recorded = async || -> Vec<Value> {
        let answer = scene.client.get(&url).send().await.expect("an answer");
        let text = answer.text().await.expect("lines");
        let lines = text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("JSON per line")
    };
    scene.ask(&token, LIST).await;
    assert_eq!(recorded().await, Vec::<Value>::new(), "it is off");
    scene.client.post(&url).send().await.expect("an answer");
    scene.ask(&token, LIST).await;
    let form = [("client_id", "none")];
    let exchange = format!("{}/login/oauth/access_token", scene.simulator.base_url());
    let exchange = scene.client.post(exchange).form(&form).send().await;
    let exchange = exchange.expect("an answer").status();

    let requests = recorded().await;
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let (path, query) = LIST.split_once('?').expect("a query");
    let list = &requests[0];
    assert_eq!(
        (&list["method"], &list["status"]),
        (&json!("GET"), &json!(200))
    );
    assert_eq!(list["path"], format!("/api/v3{path}"));
    assert_eq!((&list["query"], &list["body"]), (&json!(query), &json!("")));
    assert_eq!(
        list["headers"]["authorization"], "Bearer",
        "no token is kept"
    );
    assert_eq!(requests[1]["body"], "client_id=none", "and handed on");
    assert_eq!(requests[1]["status"], exchange.as_u16());

    scene.client.delete(&url).send().await.expect("an answer");
    scene.ask(&token, LIST).await;
    assert_eq!(recorded().await, Vec::<Value>::new(), "it has ended");
}
