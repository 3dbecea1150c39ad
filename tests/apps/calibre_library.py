# Makes an empty Calibre library, from Calibre-Web's own description of it.
import os, sys, uuid
import calibreweb
from sqlalchemy import create_engine
target, sys.argv = sys.argv[1], ["cps"]
sys.path.insert(0, os.path.dirname(calibreweb.__file__))
from cps import db
engine = create_engine(f"sqlite:///{target}/metadata.db").execution_options(schema_translate_map={"calibre": None})
db.Base.metadata.create_all(engine)
with engine.begin() as connection:
    connection.exec_driver_sql(f"INSERT INTO library_id (id, uuid) VALUES (1, '{uuid.uuid4()}')")
