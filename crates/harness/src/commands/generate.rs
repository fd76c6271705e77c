//! `generate`: continue a prompt.

use std::io::Write;
use std::ops::ControlFlow;

use models::NewToken;
use peft_core::peft_file::AdapterFile;
use peft_core::{Adaptable, Seeds};
use tasks::{Decoding, Strategy};

use super::use_threads;
use crate::cli::GenerateArgs;
use crate::config::storage_or;
use crate::session::{Session, storage_of};
use crate::{Result, adapter, interrupt};

pub(super) fn execute(args: &GenerateArgs) -> Result<()> {
    use_threads(args.model.threads);
    let mut session = Session::open(&args.model, args.model.name_or(None))?;
    if let Some(folder) = &args.adapter {
        let file = AdapterFile::read(folder)?;
        let quantize = storage_or(&args.storage, adapter::quantization_of(&file)?)?;
        let (attachment, ..) = adapter::attach(&mut session.learner, "default", &file, quantize)?;
        session.learner.activate(&attachment.active());
        session.learner.merge();
    } else {
        session.learner.store(storage_of(storage_or(&args.storage, None)?));
    }
    let strategy = if args.temperature > 0.0 {
        Strategy::Sample { temperature: args.temperature, top_p: args.top_p }
    } else {
        Strategy::Greedy
    };
    let decoding = Decoding::new(strategy, args.max_new_tokens, args.stop.clone());
    let mut prompt: Vec<u32> = session.text.tokenizer.bos().into_iter().collect();
    prompt.extend(session.text.tokenizer.encode(&args.prompt)?);

    let mut out = std::io::stdout();
    let _ = write!(out, "{}", args.prompt);
    let mut stream = session.text.decoder.stream();
    let mut failure = None;
    let mut show = |new: &NewToken<'_>| {
        if session.text.end_tokens.contains(&new.token) {
            return ControlFlow::Continue(());
        }
        match stream.push(new.token) {
            // Whoever read this has gone.
            Ok(text) if write!(out, "{text}").and_then(|()| out.flush()).is_err() => {
                return ControlFlow::Break(());
            }
            Ok(_) => {}
            Err(error) => failure = Some(error),
        }
        interrupt::flow()
    };
    let seeds = Seeds::new(args.seed);
    session.learner.generate(&session.text, &decoding, &[prompt], 1, &seeds, &mut show)?;
    let _ = writeln!(out);
    failure.map_or(Ok(()), |error| Err(error.into()))
}
