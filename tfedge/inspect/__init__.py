"""What any .tflite holds, costs and loses against float: as a table, JSON and an HTML page."""
