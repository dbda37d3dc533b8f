By0JcZkAÌ±¿røÀ,AZVÉ@
$?