"""WKW, the format of webKnossos: a folder per mag, files of many blocks, a jump table in each.

Facts: the README of webknossos-wrap, and the specification of datasource-properties.json in webknossos-libs.
"""
