//! Parquet, plain text, nested JSON and tables as others write them; filters, groups and other tasks as sources.

use flate2::{Compression, write::GzEncoder};
use std::fs;
use std::io::Write;
use std::path::Path;
use tasks::{Split, Task, TaskConfig};
use tempfile::TempDir;

const REST: &str = r#"
[prompt]
template = "{q}"
response = "{a}"
loss = "response"
bos = "none"
eos = "none"
[training]
model = "builtin:mini"
targets = "all-linear"
steps = 10
batch_size = 4
max_length = 64
truncation = "error"
order = "shuffled"
last_batch = "keep"
dtype = "f32"
reduction = "token_mean"
schedule = "linear"
warmup = 0.1
weight_decay = 0.0
eval_every = 1.0
select = "last"
[decoding]
strategy = "greedy"
max_new_tokens = 4
stop = []
[scoring]
metrics = [{ name = "accuracy", version = 1 }]
engine = { first_word = { answer = "a" } }
"#;

/// A task whose `[data.files]` begins like this and that is tested on `test`.
fn parse(files: &str, train: &str, test: &str) -> tasks::Result<TaskConfig> {
    let text = format!(
        "name = \"own\"\ndescription = \"x\"\n[data.files]\n{files}\n[data.files.splits]\ntrain = {train}\n\
         validation = \"none\"\ntest = {test}\n{REST}"
    );
    TaskConfig::parse(&text, "own.toml")
}

fn config(files: &str, test: &str) -> TaskConfig {
    parse(files, "\"none\"", &format!("{{ file = \"{test}\" }}")).unwrap_or_else(|error| panic!("{error}"))
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(dir.path().join(name), bytes).unwrap();
    }
    dir
}

fn load(files: &str, name: &str, bytes: &[u8]) -> tasks::Result<Vec<(String, String)>> {
    let dir = folder(&[(name, bytes)]);
    let task = Task::load(config(files, name), Some(dir.path()))?;
    Ok(pairs(&task, Split::Test))
}

fn pairs(task: &Task, split: Split) -> Vec<(String, String)> {
    task.items(split).iter().map(|item| (item.prompt.clone(), item.response.clone())).collect()
}

fn said(result: tasks::Result<Vec<(String, String)>>) -> String {
    let error = result.unwrap_err().to_string();
    error[error.find(" line ").map_or(0, |at| at + 1)..].to_owned()
}

fn pair(q: &str, a: &str) -> (String, String) {
    (q.to_owned(), a.to_owned())
}

/// Files written by Apache Arrow, see `data/make_parquet.py`.
fn parquet(codec: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/rows-{codec}.parquet"))).unwrap()
}

#[test]
fn parquet_gives_what_arrow_wrote() {
    for codec in ["none", "snappy", "zstd"] {
        let rows =
            load("format = \"parquet\"\nfields = { q = \"q\", a = \"a\" }", "x.parquet", &parquet(codec))
                .unwrap();
        assert_eq!(rows.len(), 60, "{codec}");
        assert_eq!(
            rows[..3],
            [pair("one", "yes indeed"), pair("two \"x\"", "no, sir"), pair("drei\u{e4}", "7")]
        );
        let nested = "format = \"parquet\"\nfields = { q = \"n\", a = \"answers.text\" }";
        let rows = load(nested, "x.parquet", &parquet(codec)).unwrap();
        assert_eq!(rows[58..], [pair("58", "[\"a\",\"b\"]"), pair("59", "[]")]);
    }
    let error =
        said(load("format = \"parquet\"\nfields = { q = \"q\", a = \"b\" }", "x.parquet", &parquet("zstd")));
    assert_eq!(error, "line 1: no field `b`");
}

#[test]
fn damaged_files_are_errors_and_nothing_worse() {
    let format = |name: &str| format!("format = \"{name}\"\nfields = {{ q = \"q\", a = \"a\" }}");
    for codec in ["none", "snappy", "zstd"] {
        let whole = parquet(codec);
        for length in (0..whole.len()).step_by(7) {
            let cut = load(&format("parquet"), "x.parquet", &whole[..length]);
            assert!(cut.is_err(), "{codec} cut to {length}");
        }
        for at in (4..whole.len()).step_by(5) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0xff;
            // What is read may still be rows; that it comes back at all is what counts.
            drop(load(&format("parquet"), "x.parquet", &flipped));
        }
    }
    let mut gz = GzEncoder::new(Vec::new(), Compression::default());
    for row in 0..200 {
        writeln!(gz, "{{\"q\": \"question {row}\", \"a\": \"{}\"}}", row * 7919 % 1009).unwrap();
    }
    let whole = gz.finish().unwrap();
    assert_eq!(load(&format("jsonl"), "x.jsonl.gz", &whole).unwrap().len(), 200);
    for length in 0..whole.len() {
        assert!(load(&format("jsonl"), "x.jsonl.gz", &whole[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn nested_records_know_what_encloses_them() {
    let squad = br#"{"version": "1", "data": [
        {"title": "T", "paragraphs": [
            {"qas": [{"question": "who?", "answers": [{"text": "a b", "answer_start": 3}, {"text": "b", "answer_start": 5}]},
                     {"question": "none?", "answers": []}], "context": "x, a b"}]},
        {"title": "U", "paragraphs": [{"context": "y", "qas": [{"question": "what?", "answers": [{"text": "y"}]}]}]}]}"#;
    let squad = &squad[..];
    let files = |a: &str| {
        format!(
            "format = \"json\"\nrecords = \"data.paragraphs.qas\"\nfields = {{ q = \"question\", a = \"{a}\" }}"
        )
    };
    let answers = |a: &str| -> Vec<String> {
        load(&files(a), "s.json", squad).unwrap().into_iter().map(|(_, a)| a).collect()
    };
    assert_eq!(answers("answers.*.text"), ["[\"a b\",\"b\"]", "[]", "[\"y\"]"]);
    assert_eq!(answers("^.context"), ["x, a b", "x, a b", "y"]);
    assert_eq!(answers("^.^.title"), ["T", "T", "U"]);
    assert_eq!(
        said(load(&files("^.^.^.version"), "s.json", squad)),
        "line 4: no object encloses the one of field `^.^.^.version`"
    );
    // The last question's answer has no start.
    assert_eq!(
        said(load(&files("answers.*.answer_start"), "s.json", squad)),
        "line 5: no field `answers.*.answer_start`"
    );
    assert_eq!(said(load(&files("question"), "s.json", br#"{"date": []}"#)), "line 1: no entry `data`");
    assert_eq!(
        said(load(&files("question"), "s.json", br#"{"data": [{"paragraphs": 3}]}"#)),
        "line 1: no list or object `paragraphs`"
    );

    let strings = "format = \"json\"\nrecords = \"list\"\nfields = { q = \"text\", a = \"text\" }";
    assert_eq!(
        load(strings, "s.json", br#"{"list": ["u", "v"]}"#).unwrap(),
        [pair("u", "u"), pair("v", "v")]
    );
    assert_eq!(said(load(strings, "s.json", b"{\"list\": [\"u\",\n7]}")), "line 2: not a JSON object");
}

#[test]
fn text_is_cut_into_documents() {
    let text = "one\n\ntwo\nthree\n---\n \n---\nfour";
    let documents = |how: &str| -> Vec<String> {
        let files = format!("format = \"text\"\n{how}\nfields = {{ q = \"text\", a = \"text\" }}");
        load(&files, "x.txt", text.as_bytes()).unwrap().into_iter().map(|(q, _)| q).collect()
    };
    assert_eq!(documents(""), ["one", "two", "three", "---", "---", "four"]);
    assert_eq!(documents("documents = \"file\""), [text]);
    assert_eq!(documents("documents = { separator = \"---\\n\" }"), ["one\n\ntwo\nthree\n", "four"]);
    let files = "format = \"text\"\nfields = { q = \"text\", a = \"text\" }";
    assert!(said(load(files, "x.txt", b"a\n\xff")).starts_with("line 2: invalid utf-8"));
    let files = "format = \"text\"\ndocuments = \"file\"\nfields = { q = \"text\", a = \"text\" }";
    assert!(said(load(files, "x.txt", b"a\nb\n\xff")).starts_with("line 3: invalid utf-8"));
}

#[test]
fn tables_come_without_header_with_mark_quotes_and_broken_rows() {
    let files = "format = \"tsv\"\nheader = false\nfields = { q = \"3\", a = \"1\" }";
    assert_eq!(
        load(files, "x.tsv", b"1\t\t\"Hi\n0\t*\tHo\"\n").unwrap(),
        [pair("\"Hi", "1"), pair("Ho\"", "0")]
    );
    assert_eq!(said(load(files, "x.tsv", b"1\t2\t3\n4\n")), "line 2: 1 columns where the first row has 3");
    let files = "format = \"tsv\"\nfields = { q = \"q\", a = \"a b\" }";
    assert_eq!(
        load(files, "x.tsv", "\u{feff}q\ta b\nx\ty\n".as_bytes()).unwrap(),
        [pair("x", "y")],
        "byte-order mark"
    );

    let files = "format = \"tsv\"\nragged = \"skip\"\nfields = { q = \"q\", a = \"a\" }";
    let dir = folder(&[("x.tsv", b"q\ta\n1\t2\n3\n4\t5\t6\n7\t8\n")]);
    let task = Task::load(config(files, "x.tsv"), Some(dir.path())).unwrap();
    assert_eq!(pairs(&task, Split::Test), [pair("1", "2"), pair("7", "8")]);
    assert_eq!((task.files()[0].records, task.files()[0].skipped), (2, 2));
}

#[test]
fn filters_keep_ranges_and_texts() {
    let rows = b"q,a\n1,x\n2,y\n30,x\n-4,z\n";
    let kept = |filter: &str| -> Vec<String> {
        let files = format!(
            "format = \"csv\"\nfields = {{ q = \"q\", a = \"a\" }}\nfilter = {{ test = [{filter}] }}"
        );
        load(&files, "x.csv", rows).unwrap().into_iter().map(|(q, _)| q).collect()
    };
    assert_eq!(kept("{ field = \"q\", min = 1, max = 2 }"), ["1", "2"]);
    assert_eq!(kept("{ field = \"a\", one_of = [\"x\", \"z\"] }"), ["1", "30", "-4"]);
    assert_eq!(kept("{ field = \"a\", none_of = [\"x\"] }, { field = \"q\", max = 0.5 }"), ["-4"]);
    let files = "format = \"csv\"\nfields = { q = \"q\", a = \"a\" }\nfilter = { test = [FILTER] }";
    let fails = |filter: &str| said(load(&files.replace("FILTER", filter), "x.csv", rows));
    assert_eq!(
        fails("{ field = \"a\", min = 1 }"),
        "line 2: `x` in field `a`, which is filtered, is no number"
    );
    assert!(
        fails("{ field = \"q\", min = 100 }").contains("wants 1 items in its test split and only 0 exist")
    );
}

#[test]
fn rows_of_one_input_become_one_item() {
    let files = "format = \"csv\"\nfields = { q = \"q\", ref = \"r\" }\n\
                 group = { by = \"q\", field = \"a\", from = \"ref\", splits = [\"test\"] }";
    let rows: &[u8] = b"q,r\nu,1\nv,2\nu,3\n";
    let dir = folder(&[("x.csv", rows)]);
    let config = parse(files, "{ file = \"x.csv\" }", "{ file = \"x.csv\" }").unwrap();
    let task = Task::load(config, Some(dir.path())).unwrap();
    assert_eq!(pairs(&task, Split::Test), [pair("u", "[\"1\",\"3\"]"), pair("v", "[\"2\"]")]);
    assert_eq!(
        pairs(&task, Split::Train),
        [pair("u", "[\"1\"]"), pair("v", "[\"2\"]"), pair("u", "[\"3\"]")]
    );
}

#[test]
fn equal_prompts_collapse_on_request() {
    let files = "format = \"csv\"\nsame_prompt = \"collapse\"\nfields = { q = \"q\", a = \"a\" }";
    let dir = folder(&[("x.csv", b"q,a\nu,1\nv,2\nu,3\n")]);
    let config = parse(files, "{ file = \"x.csv\" }", "{ file = \"x.csv\" }").unwrap();
    let task = Task::load(config, Some(dir.path())).unwrap();
    assert_eq!(pairs(&task, Split::Train), [pair("u", "3"), pair("v", "2")]);
    assert_eq!(pairs(&task, Split::Test).len(), 3, "every test item is asked");
}

#[test]
fn another_task_lends_its_items_with_its_prompt() {
    let csv = "format = \"csv\"\nfields = { q = \"q\", a = \"a\" }";
    let dir = folder(&[("mix.csv", b"q,a\nm1,x\nm2,y\n"), ("own.csv", b"q,a\nm2,y\nm3,y\n")]);
    let lender = format!(
        "{}\n[presets.loud]\n\"prompt.template\" = \"{{q}}!\"\n",
        parse(csv, "{ file = \"mix.csv\" }", "\"none\"").unwrap().to_toml()
    );
    let path = dir.path().join("mix.toml");
    fs::write(&path, lender).unwrap();
    let source = |name: &str| format!("{{ task = \"{name}\" }}");
    let borrower = |name: &str| {
        let config = parse(csv, &source(name), "{ file = \"own.csv\" }").unwrap();
        Task::load(config, Some(dir.path()))
    };
    let path = path.display().to_string();
    let task = borrower(&path).unwrap();
    assert_eq!(pairs(&task, Split::Train), [pair("m1", "x"), pair("m2", "y")]);
    assert_eq!(task.files().len(), 2, "both tasks' files are named");
    assert_eq!(task.overlap().prompt.test_in_train, 1);
    let task = borrower(&format!("{path}:loud")).unwrap();
    assert_eq!(pairs(&task, Split::Train)[0], pair("m1!", "x"));
    assert_eq!(borrower("gsm9k").unwrap_err().hint().unwrap(), "did you mean `gsm8k`?");
    let error = borrower("boolq").unwrap_err().to_string();
    assert_eq!(error, "`own`: task `boolq` has no items of its own to lend");

    let error = Task::load(config(csv, "own.csv"), Some(dir.path()))
        .unwrap()
        .require(Split::Train)
        .unwrap_err()
        .to_string();
    assert_eq!(error, "task `own` has no train split: its file says `train = \"none\"`");
}

#[test]
fn settings_that_make_no_sense_are_errors() {
    let csv = "format = \"csv\"\nfields = { q = \"q\", a = \"a\" }";
    let file = "{ file = \"x.csv\" }";
    let error = |files: &str, train: &str| parse(files, train, file).unwrap_err().to_string();
    assert!(error(&format!("{csv}\nrecords = \"a\""), file).ends_with("`records` is for the format `json`"));
    assert!(
        error(&format!("{csv}\ndocuments = \"file\""), file)
            .ends_with("`documents` is for the format `text`")
    );
    let jsonl = csv.replace("csv", "jsonl");
    assert!(
        error(&format!("{jsonl}\nheader = false"), file)
            .ends_with("`header` is for the format `csv` and `tsv`")
    );
    let filtered = format!("{csv}\nfilter = {{ validation = [{{ field = \"q\", min = 1 }}] }}");
    assert!(error(&filtered, file).ends_with("the validation split has no file of its own to filter"));
    let filtered = format!("{csv}\nfilter = {{ test = [{{ field = \"qq\", min = 1 }}] }}");
    assert!(error(&filtered, file).ends_with("no field is called `qq`"));
    let filtered = format!("{csv}\nfilter = {{ test = [{{ field = \"q\" }}] }}");
    assert!(error(&filtered, file).contains("needs `min`, `max`, `one_of` or `none_of`"));
    assert!(error(csv, "{ hashed_of_train = 3 }").contains("needs a `file` or `files` of its own"));
    let parquet = csv.replace("csv", "parquet");
    assert!(error(&parquet, "{ file = \"x.parquet.gz\" }").contains("which `.gz` does not allow"));
}

#[test]
fn overlap_counts_texts_that_differ_in_case_and_space() {
    let csv = "format = \"csv\"\nfields = { q = \"q\", a = \"a\" }";
    let dir = folder(&[("a.csv", b"q,a\nu v,1\nU  V,2\nw,3\n"), ("b.csv", b"q,a\n\"u\nv\",9\nx,9\n")]);
    let config = parse(csv, "{ file = \"a.csv\" }", "{ file = \"b.csv\" }").unwrap();
    let found = Task::load(config, Some(dir.path())).unwrap().overlap();
    assert_eq!((found.prompt.within.train, found.prompt.within.test, found.prompt.test_in_train), (1, 0, 1));
    assert_eq!(found.prompt.examples[0].text, "u v");
    assert_eq!(found.prompt.examples[0].first, "train-00000");
    assert_eq!(found.fields["q"], found.prompt);
}
