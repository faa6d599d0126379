"""What comes out of a file, or is a file's name, is text, whatever it looks like."""

from pathlib import Path

from playwright.sync_api import Page, expect

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
HEADER = "<i onclick=alert(1)>Note</i>"
BREAKOUT = "</script><script>document.title='owned'</script>"


def test_markup_in_a_file_stays_text(page: Page, tmp_path: Path) -> None:
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    path = tmp_path / "<b>bold<b> & co.csv"
    quoted = EVIL.replace('"', '""')
    path.write_text(
        f"email,{HEADER},plan\n"
        f'ada@example.com,"{quoted}",{BREAKOUT}\nbob@example.com,,\n'
        f'"{quoted}",javascript:alert(1),{{{{7*7}}}}\n'
    )
    page.get_by_label("Choose a file").set_input_files(path)
    preview = page.get_by_role("region", name="Preview", exact=True)
    expect(preview.get_by_role("columnheader", name=HEADER)).to_be_visible()
    expect(preview.get_by_role("cell", name=EVIL, exact=True).first).to_be_visible()
    expect(preview.locator(".why")).to_be_visible()
    page.get_by_role("button", name="Run the import").click()
    page.wait_for_url("**/console/imports/*")
    expect(page.locator(".flow-state")).to_have_text("Done")
    expect(page.get_by_role("heading", level=1)).to_have_text("<b>bold<b> & co.csv")
    page.get_by_role("link", name="Imports").first.click()
    expect(page.get_by_role("link", name="<b>bold<b> & co.csv")).to_be_visible()
    assert page.locator("main img, main b:has-text('bold')").count() == 0
    assert "owned" not in page.title()
    assert dialogs == []


def test_no_script_can_make_markup_of_text(page: Page, complaints: list[str]) -> None:
    blocked = page.evaluate(
        """() => {
            try { document.body.innerHTML = "<p>x</p>"; return false; } catch { return true; }
        }"""
    )
    assert blocked
    assert any("TrustedHTML" in one for one in complaints)
    complaints.clear()
