package queries

// ShowReport shows tests the form of the API of a report.
var ShowReport = showReport
