use std::{
    collections::HashMap,
    io::{self, IsTerminal as _},
    time::Duration,
};

use serde_json::{Value, json};
use tintype_client::{Event, Image, RetryPolicy};

use crate::{
    args::{Common, OutputKind, Watch},
    output::{image_json, print, utc},
    table::Table,
};

/// How long a server may be away.
const PATIENCE: Duration = Duration::from_mins(10);

/// Until it is interrupted: a line for each change, or a table where there is a terminal.
pub(super) async fn run(common: &Common, watch: Watch) -> anyhow::Result<()> {
    // Who begins wants to know at once that nobody is there; who has watched for hours waits until somebody is there again.
    super::signed_in(common)?.build()?.current_user().await?;
    let patient = RetryPolicy::default().max_attempts(u32::MAX).max_total(PATIENCE);
    let mut request = super::signed_in(common)?.retry(patient).build()?.watch();
    for id in watch.ids {
        request = request.image(id);
    }
    if let Some(token) = watch.resume {
        request = request.resume(token);
    }
    let mut watching = request.start();
    let mut view = View::of(common.output);
    loop {
        let event = watching.next().await?;
        view.show(&event, watching.resume_token())?;
    }
}

/// How events are shown.
enum View {
    Json,
    Lines(Names),
    Table(Names, Table),
}

impl View {
    fn of(output: OutputKind) -> View {
        match output {
            OutputKind::Json => View::Json,
            OutputKind::Text if io::stdout().is_terminal() => View::Table(Names::default(), Table::on_stdout()),
            OutputKind::Text => View::Lines(Names::default()),
        }
    }

    fn show(&mut self, event: &Event, resume_token: &str) -> anyhow::Result<()> {
        match self {
            View::Json => print(&event_json(event, resume_token).to_string()),
            View::Lines(names) => names.line(event).map_or(Ok(()), |(_, line)| print(&line)),
            View::Table(names, table) => {
                if let Some((id, line)) = names.line(event) {
                    table.put(id, &line.replace('\t', "  "));
                }
                Ok(())
            }
        }
    }
}

/// File names of the images that were seen, to name them when they are deleted.
#[derive(Debug, Default)]
struct Names(HashMap<i64, String>);

impl Names {
    /// The image and the line of an event: id, file name, what happened, state.
    fn line(&mut self, event: &Event) -> Option<(i64, String)> {
        let what = what(event);
        if let Some(image) = event.image() {
            self.0.insert(image.id, image.file_name.clone());
            return Some((image.id, format!("{}\t{}\t{what}\t{}", image.id, image.file_name, state(event, image))));
        }
        match event {
            Event::Deleted { image_id, .. } => {
                let name = self.0.remove(image_id).unwrap_or_default();
                Some((*image_id, format!("{image_id}\t{name}\t{what}\tdeleted")))
            }
            _ => None,
        }
    }
}

/// What happened, in one word; for a rendition its file name.
fn what(event: &Event) -> &str {
    match event {
        Event::Existing(_) => "exists",
        Event::Created { .. } => "created",
        Event::RenditionChanged { image, rendition_id, .. } => {
            let rendition = image.renditions.iter().find(|rendition| rendition.id == *rendition_id);
            rendition.map_or("rendition", |rendition| &rendition.file_name)
        }
        Event::Updated { .. } => "updated",
        Event::Deleted { .. } => "deleted",
        Event::CaughtUp => "caught_up",
        _ => "other",
    }
}

/// Of the rendition that changed, else of the image.
fn state(event: &Event, image: &Image) -> String {
    match event {
        Event::RenditionChanged { state, .. } => state.to_string(),
        _ => image.state().to_string(),
    }
}

fn event_json(event: &Event, resume_token: &str) -> Value {
    let (name, time, id) = match event {
        Event::Existing(image) => ("existing", None, Some(image.id)),
        Event::Created { image, at } => ("created", Some(at), Some(image.id)),
        Event::RenditionChanged { image, at, .. } => ("rendition_changed", Some(at), Some(image.id)),
        Event::Updated { image, at } => ("updated", Some(at), Some(image.id)),
        Event::Deleted { image_id, at } => ("deleted", Some(at), Some(*image_id)),
        Event::CaughtUp => ("caught_up", None, None),
        _ => ("other", None, None),
    };
    let rendition = match event {
        Event::RenditionChanged { rendition_id, state, .. } => json!({ "id": rendition_id.to_string(), "state": state.to_string() }),
        _ => Value::Null,
    };
    json!({
        "event": name,
        "time": time.map(|time| utc(*time)),
        "image_id": id.map(|id| id.to_string()),
        "image": event.image().map(image_json),
        "rendition": rendition,
        "resume_token": resume_token,
    })
}
