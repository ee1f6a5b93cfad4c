//! SBOM and provenance of a tree: valid according to the standards' schemas, complete, and identical on every
//! machine.

use std::collections::BTreeSet;
use std::path::Path;

use netboot_fixtures::jsonschema::{self, Registry, Validator};
use netboot_fixtures::project::Project;
use netboot_loaders::digest::Sha256Digest;
use netboot_loaders::release::provenance::{self, ProvenanceSubject};
use netboot_loaders::release::sbom;
use netboot_loaders::tree::manifest::Manifest;
use serde_json::Value;

netboot_fixtures::tests! {
    the_types_of_a_statement_are_described_where_they_say,
    a_tree_of_syslinux_alone_has_no_ipxe,
    references_lead_somewhere_and_names_are_given_once,
    licences_and_exceptions_are_in_the_list_of_spdx,
    a_statement_is_about_its_subjects_and_names_what_went_in,
    ; slow:
    the_same_inputs_give_the_same_documents_and_nothing_of_the_host,
    the_documents_are_as_their_schemas_say,
    a_text_of_the_build_is_nobodys_choice,
    every_file_is_a_component_with_its_digest_and_what_it_is_made_of,
}

/// The two documents of a tree.
struct Documents {
    manifest: Manifest,
    sbom: String,
    statement: String,
}

/// Returns a project with one of everything: patch, header, certificate, site, syslinux, text.
fn project() -> Project {
    let project = Project::new();
    project.config("extra", "#define X\n");
    project.write("embed-scripts/ca.pem", include_str!("../../../fixtures/ca.pem"));
    project.write("embed-scripts/menu.cfg", "DEFAULT x\n");
    project.write("vendor/patches/0001-why.patch", "diff --git a/src/core.c b/src/core.c\n--- a/src/core.c\n+++ b/src/core.c\n@@ -1 +1 @@\n-int main(void) { return 0; }\n+int main(void) { return 1; }\n");
    project.sites(
        "[default]\nloaders = [\"ipxe.pxe\", \"ipxe.efi\"]\nscript = \"boot.ipxe\"\n\
         [syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\"]\npxelinux-config = \"menu.cfg\"\n\
         [site.a]\nconfig = \"extra\"\ntrust = [\"ca.pem\"]\nloaders = [\"undionly.kpxe\"]\n",
    );
    project
}

impl Documents {
    fn of(project: &Project) -> Self {
        project.build(&["--archive"]).success();
        let manifest: Manifest = serde_json::from_slice(&project.read("dist/tftp/manifest.json")).unwrap();
        let archive = format!("netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION"));
        let sha256 = Sha256Digest::of(&project.read(&format!("dist/{archive}")));
        let mut subjects = ProvenanceSubject::of_tree(&manifest);
        subjects.push(ProvenanceSubject { name: archive, sha256 });
        let (sbom, statement) = (sbom::cyclonedx(&manifest), provenance::statement(&manifest, &subjects));
        Self { manifest, sbom, statement }
    }

    fn sbom(&self) -> Value {
        serde_json::from_str(&self.sbom).unwrap()
    }

    fn statement(&self) -> Value {
        serde_json::from_str(&self.statement).unwrap()
    }
}

fn schema(relative: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(relative);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Returns `CycloneDX`'s own schema. It refers to two other schemas by names relative to its own.
fn cyclonedx() -> Validator {
    let part = |name: &str| schema(&format!("fixtures/schemas/{name}"));
    let mut registry = Registry::new();
    for name in ["spdx.SNAPSHOT.schema.json", "jsf-0.82.SNAPSHOT.schema.json"] {
        registry = registry.add(format!("http://cyclonedx.org/schema/{name}"), part(name)).unwrap();
    }
    let registry = registry.prepare().unwrap();
    let options = jsonschema::options().with_registry(&registry).should_validate_formats(true);
    options.build(&part("bom-1.6.SNAPSHOT.schema.json")).unwrap()
}

fn in_toto() -> Validator {
    let schema = schema("fixtures/schemas/in-toto-statement-slsa-provenance-1.schema.json");
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn parameters() -> Validator {
    jsonschema::validator_for(&schema("schemas/provenance-1.schema.json")).unwrap()
}

#[track_caller]
fn assert_valid(validator: &Validator, document: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
}

/// Replaces the value at the JSON pointer `place` with `wrong`, and checks that validation fails.
#[track_caller]
fn assert_spoiled(validator: &Validator, document: &Value, place: &str, wrong: Value) {
    let mut spoiled = document.clone();
    *spoiled.pointer_mut(place).unwrap_or_else(|| panic!("nothing at {place}")) = wrong;
    assert!(!validator.is_valid(&spoiled), "nobody minds what is wrong at {place}");
}

/// Returns all references between components, each with the component that contains it.
fn edges(sbom: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut edges = Vec::new();
    for dependency in sbom["dependencies"].as_array().unwrap() {
        for target in dependency["dependsOn"].as_array().into_iter().flatten() {
            edges.push((text(&dependency["ref"]), text(target)));
        }
    }
    edges
}

fn component<'a>(sbom: &'a Value, bom_ref: &str) -> &'a Value {
    let components = sbom["components"].as_array().unwrap();
    components.iter().find(|component| component["bom-ref"] == bom_ref).unwrap_or_else(|| panic!("no {bom_ref}"))
}

fn the_documents_are_as_their_schemas_say() {
    let documents = Documents::of(&project());
    let (sbom, statement) = (documents.sbom(), documents.statement());
    let (cyclonedx, in_toto, parameters) = (cyclonedx(), in_toto(), parameters());
    assert_valid(&cyclonedx, &sbom);
    assert_valid(&in_toto, &statement);
    assert_valid(&parameters, &statement["predicate"]["buildDefinition"]);

    assert_spoiled(&cyclonedx, &sbom, "/components/0/hashes/0/content", "short".into());
    assert_spoiled(&cyclonedx, &sbom, "/components/0/type", "loader".into());
    assert_spoiled(&cyclonedx, &sbom, "/serialNumber", "urn:uuid:1".into());
    assert_spoiled(&in_toto, &statement, "/subject", serde_json::json!([]));
    assert_spoiled(&in_toto, &statement, "/subject/0/digest/sha256", "short".into());
    assert_spoiled(&in_toto, &statement, "/predicate/runDetails/builder/id", "here".into());
    assert_spoiled(&in_toto, &statement, "/predicate/buildDefinition/buildType", Value::Null);
    let definition = &statement["predicate"]["buildDefinition"];
    assert_spoiled(&parameters, definition, "/externalParameters/files/0/path", "/etc/passwd".into());
}

fn the_types_of_a_statement_are_described_where_they_say() {
    let described = include_str!("../../../schemas/provenance-1.md");
    for uri in [provenance::BUILD_TYPE, provenance::BUILDER] {
        let (_, section) = uri.split_once('#').unwrap();
        assert!(described.contains(uri) && described.contains(&format!("<a id=\"{section}\"></a>")), "{uri}");
    }
}

fn a_text_of_the_build_is_nobodys_choice() {
    let mut documents = Documents::of(&project());
    let manifest = &mut documents.manifest;
    let position = manifest.files.iter().position(|file| file.path == "pxelinux.cfg/default").unwrap();
    let statement = |manifest: &Manifest| provenance::statement(manifest, &[]);
    assert!(statement(manifest).contains("\"path\": \"pxelinux.cfg/default\""));
    manifest.files[position].path = "made.txt".into();
    assert!(!statement(manifest).contains("made.txt"));
    let sbom: Value = serde_json::from_str(&sbom::cyclonedx(manifest)).unwrap();
    let [complete, unknown] = [0, 1].map(|index| sbom["compositions"][index]["dependencies"].as_array().unwrap());
    assert!(!complete.contains(&"file:made.txt".into()) && unknown.contains(&"file:made.txt".into()));
}

fn a_tree_of_syslinux_alone_has_no_ipxe() {
    let project = Project::new();
    project.sites(
        "[default]\nloaders = []\nscript = \"boot.ipxe\"\n[syslinux]\nmembers = [\"lpxelinux.0\", \"ldlinux.c32\"]\n",
    );
    let documents = Documents::of(&project);
    let (sbom, statement) = (documents.sbom(), documents.statement());
    assert_valid(&cyclonedx(), &sbom);
    assert_valid(&in_toto(), &statement);
    assert_valid(&parameters(), &statement["predicate"]["buildDefinition"]);
    assert!(!documents.sbom.contains("pkg:github/ipxe") && !documents.statement.contains("ipxe.git"));
}

fn every_file_is_a_component_with_its_digest_and_what_it_is_made_of() {
    let documents = Documents::of(&project());
    let sbom = documents.sbom();
    let edges = edges(&sbom);
    let has = |from: &str, to: &str| edges.iter().any(|edge| edge.0 == from && edge.1.starts_with(to));
    for ProvenanceSubject { name, sha256 } in ProvenanceSubject::of_tree(&documents.manifest) {
        let bom_ref = format!("file:{name}");
        assert_eq!(component(&sbom, &bom_ref)["hashes"][0]["content"], sha256.to_string());
        assert!(has("tree", &bom_ref), "{name}");
    }
    for loader in ["file:ipxe.pxe", "file:ipxe.efi", "file:sites/a/undionly.kpxe"] {
        assert!(has(loader, "ipxe") && has(loader, "configuration:") && has(loader, "script:boot.ipxe@"));
    }
    assert!(has("file:lpxelinux.0", "syslinux") && !has("file:pxelinux.cfg/default", ""));
    let ipxe = component(&sbom, "ipxe");
    assert_eq!(ipxe["purl"], format!("pkg:github/ipxe/ipxe@{}", documents.manifest.ipxe.commit));
    assert_eq!(ipxe["pedigree"]["patches"][0]["diff"]["url"], "vendor/patches/0001-why.patch");
    assert_eq!(ipxe["components"][0]["hashes"][0]["content"], documents.manifest.ipxe.patches[0].sha256.to_string());
    assert_eq!(component(&sbom, "syslinux")["purl"], "pkg:generic/syslinux@6.03");
    let tools: Vec<&str> = sbom["formulation"][0]["components"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    let wanted: Vec<&str> = documents.manifest.toolchain.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(tools, wanted);
}

fn references_lead_somewhere_and_names_are_given_once() {
    let sbom = Documents::of(&project()).sbom();
    let components = [&sbom["metadata"]["component"]].into_iter().chain(sbom["components"].as_array().unwrap());
    let names: Vec<&str> = components.map(|component| component["bom-ref"].as_str().unwrap()).collect();
    let known: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(known.len(), names.len());
    for (from, to) in edges(&sbom) {
        assert!(known.contains(from.as_str()) && known.contains(to.as_str()), "{from} -> {to}");
    }
    let compositions = sbom["compositions"].as_array().unwrap().iter();
    let spoken_of: Vec<&str> =
        compositions.flat_map(|known| known["dependencies"].as_array().unwrap()).filter_map(Value::as_str).collect();
    assert_eq!(spoken_of.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(spoken_of.len(), known.len());
}

fn licences_and_exceptions_are_in_the_list_of_spdx() {
    let documents = Documents::of(&project());
    let listed = schema("fixtures/schemas/spdx.SNAPSHOT.schema.json");
    let listed: BTreeSet<&str> = listed["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let sbom = documents.sbom();
    let components = sbom["components"].as_array().unwrap().iter();
    let expressions: BTreeSet<&str> =
        components.filter_map(|component| component["licenses"][0]["expression"].as_str()).collect();
    assert_eq!(expressions.len(), 3);
    for word in expressions.iter().flat_map(|expression| expression.split(' ')) {
        assert!(["AND", "WITH"].contains(&word) || listed.contains(word), "{word}");
    }
}

fn a_statement_is_about_its_subjects_and_names_what_went_in() {
    let documents = Documents::of(&project());
    let statement = documents.statement();
    let subject = |name: &str| {
        let subjects = statement["subject"].as_array().unwrap();
        subjects.iter().find(|subject| subject["name"] == name).unwrap()["digest"]["sha256"].clone()
    };
    for file in &documents.manifest.files {
        assert_eq!(subject(file.path.as_str()), file.sha256.to_string());
    }
    subject("manifest.json");
    subject(&format!("netboot-loaders-{}-tftp.tar.gz", env!("CARGO_PKG_VERSION")));
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let names: Vec<&str> = dependencies.as_array().unwrap().iter().filter_map(|known| known["name"].as_str()).collect();
    let inputs = [
        "ipxe",
        "vendor/patches/0001-why.patch",
        "embed-scripts/ca.pem",
        "vendor/ipxe-config/extra/general.h",
        "bios/com32/elflink/ldlinux/ldlinux.c32",
        "bios/core/lpxelinux.0",
    ];
    let tools = documents.manifest.toolchain.iter().map(|tool| tool.name.as_str());
    assert_eq!(names, inputs.into_iter().chain(tools).collect::<Vec<_>>());
    assert_eq!(dependencies[0]["digest"]["gitCommit"], documents.manifest.ipxe.commit.to_string());
    let shuffled: Vec<ProvenanceSubject> = {
        let mut subjects = ProvenanceSubject::of_tree(&documents.manifest);
        subjects.reverse();
        subjects.extend(ProvenanceSubject::of_tree(&documents.manifest));
        subjects
    };
    assert_eq!(
        provenance::statement(&documents.manifest, &shuffled),
        provenance::statement(&documents.manifest, &ProvenanceSubject::of_tree(&documents.manifest))
    );
}

fn the_same_inputs_give_the_same_documents_and_nothing_of_the_host() {
    let (one, other) = (project(), project());
    let (left, right) = (Documents::of(&one), Documents::of(&other));
    assert_eq!((&left.sbom, &left.statement), (&right.sbom, &right.statement));
    other.write("embed-scripts/boot.ipxe", "#!ipxe\nshell\n");
    let changed = Documents::of(&other);
    assert_ne!(left.sbom()["serialNumber"], changed.sbom()["serialNumber"]);
    for text in [&left.sbom, &left.statement] {
        assert!(text.ends_with("}\n") && !text.ends_with("\n\n"));
        let user = std::env::var("USER").unwrap_or_default();
        let host = [one.root.as_str(), env!("CARGO_MANIFEST_DIR"), "\"/", "/tmp/", "/home/", "/root/", "file://"];
        for word in host.into_iter().chain(Some(user.as_str()).filter(|user| user.len() > 4)) {
            assert!(!text.contains(word), "{word} in\n{text}");
        }
        let times = ["timestamp", "startedOn", "finishedOn", "invocationId"];
        assert!(!times.iter().any(|word| text.contains(word)), "{text}");
        // A date with a time according to RFC 3339: a digit, `T`, two digits, `:`.
        let is_time = |window: &[u8]| window[0].is_ascii_digit() && window[1] == b'T' && window[4] == b':';
        assert!(!text.as_bytes().windows(5).any(is_time), "{text}");
    }
}
