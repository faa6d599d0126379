"""Contacts: people, by e-mail address."""

from app.imports.targets.target import Field, Target
from app.imports.values import Email, Phone, Text

CONTACTS = Target(
    name="contacts",
    table="contacts",
    key="email",
    attributes="attributes",
    fields=(
        Field(
            name="email",
            type=Email(),
            label="e-mail address",
            required=True,
            names=(
                *("email", "email address", "mail", "email addr", "mail address", "contact email"),
                *("e-mail-adresse", "mailadresse", "emailadresse"),
                *("courriel", "adresse e-mail", "adresse mail", "adresse électronique", "mél"),
                *("correo", "correo electrónico", "dirección de correo", "email de contacto"),
                *("e-mailadres", "mailadres"),
                *("posta elettronica", "indirizzo email", "indirizzo e-mail"),
                *("endereço de email", "correio eletrônico", "correio electrónico"),
                *("e-post", "e-postadress", "e-postadresse", "adres e-mail", "poczta"),
            ),
        ),
        Field(
            name="first_name",
            type=Text(),
            label="first name",
            names=(
                *("first name", "first", "given name", "forename", "fname"),
                *("vorname", "rufname", "prénom", "nombre", "primer nombre", "nombre de pila"),
                *("voornaam", "roepnaam", "nome", "primeiro nome", "nome próprio"),
                *("förnamn", "fornavn", "imię"),
            ),
        ),
        Field(
            name="last_name",
            type=Text(),
            label="last name",
            names=(
                *("last name", "last", "surname", "family name", "lname"),
                *("nachname", "familienname", "zuname", "nom", "nom de famille"),
                *("apellido", "apellidos", "primer apellido", "achternaam", "familienaam"),
                *("cognome", "sobrenome", "apelido", "último nome"),
                *("efternamn", "efternavn", "etternavn", "nazwisko"),
            ),
            beside={"name": "vorname", "naam": "voornaam", "navn": "fornavn", "namn": "förnamn"},
        ),
        Field(
            name="company",
            type=Text(),
            label="company",
            names=(
                *("company", "company name", "organisation", "organization", "employer"),
                *("business", "business name", "account name", "organization name"),
                *("organisation name", "organization 1 name"),
                *("firma", "firmenname", "unternehmen", "arbeitgeber"),
                *("entreprise", "société", "employeur", "raison sociale"),
                *("empresa", "compañía", "organización", "razón social"),
                *("bedrijf", "bedrijfsnaam", "organisatie", "werkgever"),
                *("azienda", "società", "ditta", "ragione sociale"),
                *("organização", "nome da empresa"),
                *("företag", "bedrift", "virksomhed"),
            ),
        ),
        Field(
            name="phone",
            type=Phone(),
            label="phone number",
            names=(
                *("phone", "phone number", "telephone", "telephone number", "tel", "tel no"),
                *("mobile", "mobile phone", "mobile number", "cell", "cell phone"),
                *("contact phone", "contact number", "work phone", "phone no"),
                *("telefon", "telefonnummer", "rufnummer", "handy", "handynummer", "mobil"),
                *("mobilnummer", "mobiltelefon"),
                *("téléphone", "numéro de téléphone", "portable", "tél", "téléphone portable"),
                *("tél portable", "téléphone mobile", "téléphone fixe"),
                *("teléfono", "número de teléfono", "móvil", "celular", "teléfono móvil"),
                *("telefoon", "telefoonnummer", "mobiel", "gsm"),
                *("telefono", "numero di telefono", "cellulare"),
                *("telefone", "número de telefone", "telemóvel"),
                *("mobilnr", "mobiltelefonnummer", "numer telefonu"),
            ),
            never=("fax", "fax number", "telefax", "faxnummer", "télécopie"),
        ),
    ),
)
