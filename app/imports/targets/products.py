"""Products: articles, by SKU."""

from app.imports.targets.target import Field, Target
from app.imports.values import Code, Currency, Decimal, Integer, Text

PRODUCTS = Target(
    name="products",
    table="products",
    key="sku",
    fields=(
        Field(
            name="sku",
            type=Code(),
            label="SKU",
            required=True,
            names=(
                *("sku", "sku code", "product sku", "product code", "product id", "product number"),
                *(
                    "item number",
                    "item no",
                    "item code",
                    "article number",
                    "article no",
                    "part number",
                ),
                *("stock keeping unit", "product no", "code", "article code"),
                *(
                    "artikelnummer",
                    "artikel-nr",
                    "art-nr",
                    "artnr",
                    "produktnummer",
                    "bestellnummer",
                ),
                *("référence", "référence produit", "code article", "numéro d'article"),
                *("referencia", "código de producto", "código de artículo", "número de artículo"),
                *("artikelcode", "productcode", "productnummer"),
                *("codice articolo", "codice prodotto", "codice", "numero articolo"),
                *("código do produto", "código do artigo", "referência"),
            ),
        ),
        Field(
            name="name",
            type=Text(),
            label="name",
            names=(
                *("name", "product", "product name", "title", "product title", "item", "item name"),
                *("article", "article name"),
                *("bezeichnung", "artikelbezeichnung", "produktname", "artikelname", "produkt"),
                *("nom", "nom du produit", "désignation", "libellé", "produit"),
                *("nombre", "nombre del producto", "producto", "artículo"),
                *("naam", "productnaam", "omschrijving", "artikelnaam"),
                *("nome", "nome prodotto", "prodotto", "articolo", "denominazione"),
                *("nome do produto", "produto", "artigo"),
            ),
        ),
        Field(
            name="price",
            type=Decimal(14, 4),
            label="price",
            names=(
                *("price", "unit price", "sales price", "list price", "retail price"),
                *("preis", "einzelpreis", "verkaufspreis", "listenpreis", "vk", "stückpreis"),
                *("prix", "prix unitaire", "prix de vente", "tarif"),
                *("precio", "precio unitario", "precio de venta"),
                *("prijs", "verkoopprijs", "stukprijs"),
                *("prezzo", "prezzo unitario", "prezzo di vendita"),
                *("preço", "preço unitário", "preço de venda"),
            ),
        ),
        Field(
            name="currency",
            type=Currency(),
            label="currency",
            names=(
                *("currency", "currency code", "price currency", "ccy"),
                *("währung", "währungscode", "devise", "monnaie", "moneda", "divisa"),
                *("valuta", "munteenheid", "moeda"),
            ),
        ),
        Field(
            name="stock",
            type=Integer(),
            label="stock",
            names=(
                *("stock", "stock level", "in stock", "quantity", "qty", "inventory", "on hand"),
                *("quantity on hand", "available quantity", "units in stock"),
                *("bestand", "lagerbestand", "menge", "lager", "stückzahl", "vorrat"),
                *("quantité", "en stock", "stock disponible"),
                *("existencias", "cantidad", "inventario"),
                *("voorraad", "aantal", "hoeveelheid"),
                *("giacenza", "quantità", "scorte"),
                *("estoque", "quantidade", "existências"),
            ),
        ),
    ),
)
