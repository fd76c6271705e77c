//! `doctor`: what would make an adapter fail in silence.

use super::{print, use_threads};
use crate::cli::DoctorArgs;
use crate::doctor::{Severity, examine};
use crate::session::Session;
use crate::{Error, Result};

pub(super) fn execute(args: &DoctorArgs) -> Result<()> {
    use_threads(args.model.threads);
    let open = |name: &String| Session::open(&args.model, name);
    let mut session = args.model.model.as_ref().map(open).transpose()?;
    let findings = examine(&args.adapter, session.as_mut().map(|session| &mut session.learner));
    if args.json {
        print(&serde_json::to_string_pretty(&findings).expect("findings print"));
    } else {
        for finding in &findings {
            print(&finding.to_string());
        }
        if findings.is_empty() {
            let on = match &args.model.model {
                Some(model) => format!("; on `{model}` it loads, and merged weights compute the same"),
                None => " in its files; `--model` tries it on a model".to_owned(),
            };
            print(&format!("{}: nothing wrong{on}", args.adapter.display()));
        }
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 { Err(Error::Failed(format!("{errors} of the findings are errors"))) } else { Ok(()) }
}
