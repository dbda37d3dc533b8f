Bpooler_outputJ`BU#?0-¿Îi¿%TŽ>Ma@¾$ê¿õ‘f?%"÷½_ˆØ¾hH?Dt`¿ÆB¸¾B9u>Qv¾£ö½YuB?‹B=™md¿ßò¿@­¢>gOû¾:
p¾±Y>Ë°S?