from infra.sbom import python_component


def test_a_package_is_named_as_the_index_names_it_with_its_licence() -> None:
    component = python_component(
        (
            "Metadata-Version: 2.1\nName: Some_Package.extra\nVersion: 1.0+local\nLicense: MIT, "
            "© Zoë\n\nLong text"
        ).encode()
    )
    assert (component["name"], component["version"], component["purl"]) == (
        "Some_Package.extra",
        "1.0+local",
        "pkg:pypi/some-package-extra@1.0%2Blocal",
    )
    assert component["licenses"] == [{"license": {"name": "MIT, © Zoë"}}]


def test_a_licence_s_whole_text_is_no_name_and_none_is_made_up() -> None:
    assert "licenses" not in python_component(
        b"Name: a\nVersion: 1\nLicense: " + b"x" * 200 + b"\n"
    )
    assert "licenses" not in python_component(b"Name: a\nVersion: 1\n")
