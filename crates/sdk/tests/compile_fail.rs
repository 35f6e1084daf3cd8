//! Wrong code gets a message that helps.

#[test]
fn wrong_code_does_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
