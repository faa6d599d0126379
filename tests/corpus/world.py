"""Tables in languages that need an encoding of their own."""

from collections.abc import Mapping

from tests.corpus.case import Cells, Table, seeded

NAMES: Mapping[str, tuple[str, str, str, str]] = {
    "polish": (
        "e-mail|imię|nazwisko|miasto|uwagi",
        "Małgorzata Łukasz Świętosława Jerzy Zażółć Grażyna",
        "Wiśniewski Dąbrowska Żółkiewski Kamińska Wójcik Łęcki",
        "zapłacono w całości, dziękujemy|proszę dzwonić później|gęślą jaźń",
    ),
    "czech": (
        "e-mail|jméno|příjmení|město|poznámka",
        "Jiří Zdeněk Božena Štěpán Žofie Tomáš",
        "Dvořák Němcová Kučera Růžička Šťastný Beneš",
        "žluťoučký kůň, úpěl ďábelské ódy|zaplaceno převodem|příště přijďte dřív",
    ),
    "russian": (
        "почта|имя|фамилия|город|примечание",
        "Александр Мария Сергей Наталья Дмитрий Ольга",
        "Иванов Петрова Сидоров Кузнецова Смирнов Попова",
        "оплачено полностью, спасибо|перезвонить после обеда|доставка в понедельник",
    ),
    "greek": (
        "ταχυδρομείο|όνομα|επώνυμο|πόλη|σημείωση",
        "Γιώργος Μαρία Κώστας Ελένη Δημήτρης Σοφία",
        "Παπαδόπουλος Γεωργίου Νικολάου Αντωνίου Βλάχος Οικονόμου",
        "πληρώθηκε πλήρως, ευχαριστώ|καλέστε ξανά το απόγευμα|παράδοση τη Δευτέρα",
    ),
    "japanese": (
        "メール|名|姓|都市|備考",
        "花子 太郎 さくら 健一 美咲 大輔",
        "山田 佐藤 鈴木 高橋 田中 渡辺",
        "全額支払済み、ありがとうございます|午後にお電話ください|月曜日に配達します",
    ),
    "chinese": (
        "邮箱|名字|姓氏|城市|备注",
        "小明 丽华 建国 秀英 志强 晓红",
        "王 李 张 刘 陈 杨",
        "已全额付款，谢谢您的支持|请下午再打电话联系我们|星期一送货上门",  # noqa: RUF001
    ),
    "taiwanese": (
        "信箱|名字|姓氏|城市|備註",
        "小明 麗華 建國 秀英 志強 曉紅",
        "王 李 張 劉 陳 楊",
        "已全額付款，謝謝您的支持|請下午再打電話聯絡我們|星期一送貨到府",  # noqa: RUF001
    ),
    "korean": (
        "메일|이름|성|도시|비고",
        "영희 철수 민준 서연 지훈 수빈",
        "김 이 박 최 정 강",
        "전액 지불 완료, 감사합니다|오후에 다시 전화해 주세요|월요일에 배송됩니다",
    ),
    "german": (
        "E-Mail|Vorname|Nachname|Straße|Bemerkung",
        "Jürgen Käthe Jörg Anneliese Götz Bärbel",
        "Müller Weiß Größmann Schäfer Böttcher Kühn",
        "bezahlt, danke schön|bitte später anrufen|Lieferung nächste Woche für Frau Groß",
    ),
    "french": (
        "courriel|prénom|nom|ville|remarque",
        "François Hélène Noël Zoé Gaëlle Benoît",
        "Lefèvre Dupré Bérenger Garçon Château Forêt",
        "payé, merci à vous|rappeler l'après-midi, dès que possible|livré à Besançon",
    ),
    "typographer": (
        "email|first name|last name|city|remark",
        "Anne Zoë John José Siân Chloë",
        "O\u2019Brien D\u2019Arcy Smith\u2013Jones Núñez \u0160pa\u010dek Smith",
        "\u201cpaid in full\u201d, thanks|\u20ac 50 \u2013 to be invoiced|call again\u2026",
    ),
}


def people(language: str, rows: int) -> Table:
    header, first, last, remarks = NAMES[language]
    rng = seeded(language, rows)
    firsts, lasts, notes = first.split(), last.split(), remarks.split("|")

    def row(number: int) -> Cells:
        place = f"{rng.choice(lasts)} {number}"
        mail = f"p{number}@example.org"
        return (mail, rng.choice(firsts), rng.choice(lasts), place, rng.choice(notes))

    made = tuple(row(number) for number in range(1, rows + 1))
    return Table(language, tuple(header.split("|")), made)


def encodable(table: Table, encoding: str) -> Table:
    """The same without the characters that the encoding lacks."""

    def clean(row: Cells) -> Cells:
        return tuple(cell.encode(encoding, "ignore").decode(encoding) for cell in row)

    return Table(table.name, clean(table.header), tuple(clean(row) for row in table.rows))
