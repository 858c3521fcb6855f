// Puts the file of the font into the program's read-only data, as
// attention_font .. attention_font_end. Its copyright notice is in it.
asm(R"(
  .section .rodata
  .balign 16
  .global attention_font
  .hidden attention_font
attention_font:
  .incbin ")" ATTENTION_FONT_FILE R"("
  .global attention_font_end
  .hidden attention_font_end
attention_font_end:
  .byte 0
  .previous
)");
